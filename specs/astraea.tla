------------------------------ MODULE astraea ------------------------------
(* The safety rules in counts of blocks. Actions have the names of events and decisions, turns and holdings the states
   of TURN_TABLE and KV_TABLE. An ended turn is "tool" while its context waits for a tool, and else "idle"; a holding whose
   report is overdue is a record in `frozen`. Evictions for a turn belong to the action that they are for.

   Open is all that a policy chooses and all that nobody knows: the ranking, whom to evict for whom and how much, with
   or without a copy, whom to hold back, all lengths, and when anything happens. What holds here holds for every ranking,
   estimate and eviction order. `specs/README.md` says what is left out. *)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    N, JobOf, TenantOf,   \* contexts are 1..N; the job of each, a session's only one; the tenant of each job
    Pool, HostPool,       \* blocks
    MaxOf,                \* by context: blocks of each turn's prompt and maximum output
    K, P,                 \* bypass_max, preemptions_max
    Slots, TenantSlots,   \* how many turns run at a time, of all tenants and of one
    Turns,                \* how many turns a job has at most; 0: there is no end to it
    Losses,               \* how many reports are overdue at the same time, at most
    Ahead,                \* blocks that a batch may take beyond the next step's, by turn
    Unusual,              \* which of "cancel", "cancel turn", "close", "drain", "edit", "fail" happen
    Wrong                 \* the rule that is broken, "nothing" if none is

\* For configurations
Each == [c \in 1..N |-> c]         \* every context is a job of its own
One == [c \in 1..N |-> 1]          \* all are branches of one job
Paired == [c \in 1..N |-> IF c < 3 THEN 1 ELSE c - 1]  \* the first two are branches of one job
Shared == [j \in 1..N |-> 1]       \* one tenant
AllTwo == [c \in 1..N |-> 2]
FirstOne == [c \in 1..N |-> IF c = 1 THEN 1 ELSE 2]

VARIABLES
    turn,                 \* by context: a state of TURN_TABLE, "tool" or "idle"
    kv, dev, hst,         \* by context: a state of KV_TABLE, and the blocks that the holding has on either side
    had, keep,            \* while a copy goes out: what the host had before, what the device will keep
    back,                 \* by context: its host copy came back whole for a turn that waits still
    stale,                \* by context: its history was edited during a copy
    need, count,          \* by context: the blocks of its turn's known tokens; how often the turn was preempted
    order,                \* by job: its place in the order of arrival of those that are live; 0 if it is not
    bypasses, over, left, \* by job; over: some branch gave its answer; left: turns that it may still have
    flight,               \* whether a batch is owed; its turns are those that are running or stopping
    open,                 \* the context of the open turn, or 0
    frozen,               \* what overdue reports hold: a sequence of [dev, hst, owed]
    drain,
    free, hfree           \* as the ledger counts them

vars == <<turn, kv, dev, hst, had, keep, stale, back, need, count, order, bypasses, over, left, flight, open, frozen,
          drain, free, hfree>>
copies == <<had, keep, stale, back>>

C == 1..N
Jobs == {JobOf[c] : c \in C}
Smaller(a, b) == IF a < b THEN a ELSE b
Larger(a, b) == IF a < b THEN b ELSE a
Sum(f) == f[1] + (IF N > 1 THEN f[2] ELSE 0) + (IF N > 2 THEN f[3] ELSE 0) + (IF N > 3 THEN f[4] ELSE 0)
RECURSIVE Total(_, _)
Total(q, side) == IF q = <<>> THEN 0 ELSE Head(q)[side] + Total(Tail(q), side)

Ready(c) == turn[c] \in {"waiting", "preempted"}
Waits(c) == turn[c] \in {"waiting", "preempted", "returning"}
Runs(c) == turn[c] = "running"
In(c) == turn[c] \in {"running", "stopping"}
Copied(c) == kv[c] \in {"leaving", "returning"}
Dead(c) == kv[c] \in {"device_dead", "leaving_dead", "returning_dead"}
Owed(c) == kv[c] \in {"leaving", "returning", "leaving_dead", "returning_dead"}
Cache(c) == kv[c] = "device" /\ (~In(c) \/ (Wrong = "a running cache is copied" /\ Runs(c)))
Live(j) == order[j] > 0
Before(i, j) == order[i] > 0 /\ order[i] < order[j]
JobWaits(j) == \E c \in C : JobOf[c] = j /\ Waits(c)
Promoted(j) == Wrong # "no guard" /\ Live(j) /\ bypasses[j] >= K + (IF Wrong = "promotion at K + 1" THEN 1 ELSE 0)
Usable(fr) == Pool - Total(fr, "dev")
Where(d, h) == IF d > 0 THEN "device" ELSE IF h > 0 THEN "host" ELSE "none"

Init ==
    /\ turn = [c \in C |-> "idle"] /\ kv = [c \in C |-> "none"]
    /\ dev = [c \in C |-> 0] /\ hst = [c \in C |-> 0] /\ had = [c \in C |-> 0] /\ keep = [c \in C |-> 0]
    /\ stale = [c \in C |-> FALSE] /\ back = [c \in C |-> FALSE] /\ need = [c \in C |-> 0] /\ count = [c \in C |-> 0]
    /\ order = [j \in Jobs |-> 0] /\ bypasses = [j \in Jobs |-> 0]
    /\ over = [j \in Jobs |-> FALSE] /\ left = [j \in Jobs |-> 0]
    /\ flight = FALSE /\ open = 0 /\ frozen = <<>> /\ drain = FALSE /\ free = Pool /\ hfree = HostPool

(* What ends turns and jobs. t, n: what becomes of each turn and its known tokens; ended: jobs that answered or failed;
   gone: jobs that end whatever else they have. *)
Becomes(t, n, ended, gone) ==
    /\ turn' = t
    /\ need' = [c \in C |-> IF t[c] \in {"idle", "tool"} THEN 0 ELSE n[c]]
    /\ count' = [c \in C |-> IF t[c] \in {"idle", "tool"} THEN 0 ELSE count[c]]
    /\ back' = [c \in C |-> back[c] /\ t[c] = turn[c]]
    /\ open' = IF open # 0 /\ t[open] \notin {"waiting", "preempted", "returning"} THEN 0 ELSE open
    /\ IF ended = {} /\ gone = {} /\ ~\E j \in Jobs : over[j] THEN UNCHANGED <<order, over, bypasses, left>>
       ELSE LET o == [j \in Jobs |-> over[j] \/ j \in ended]
                idle(j) == \A c \in C : JobOf[c] = j => t[c] = "idle"
                done == {j \in Jobs : Live(j) /\ (j \in gone \/ (o[j] /\ idle(j)))}
            IN  /\ order' = [j \in Jobs |-> IF j \in done THEN 0
                                            ELSE order[j] - Cardinality({i \in done : Before(i, j)})]
                /\ over' = [j \in Jobs |-> o[j] /\ j \notin done]
                /\ bypasses' = [j \in Jobs |-> IF j \in done THEN 0 ELSE bypasses[j]]
                /\ left' = [j \in Jobs |-> IF j \in done THEN 0 ELSE left[j]]

(* The holdings of the contexts have d and h blocks, and are in the states k. *)
Have(k, d, h) ==
    /\ kv' = k /\ dev' = d /\ hst' = h
    /\ free' = free + Sum(dev) - Sum(d) /\ hfree' = hfree + Sum(hst) - Sum(h)

(* Rule 9: what no longer fits beside what is frozen ends at once, in flight with the batch's report. *)
NoRoom(t, fr) ==
    IF Wrong = "quarantine ends no turn" THEN {}
    ELSE {c \in C : t[c] \in {"waiting", "preempted", "returning", "running"} /\ MaxOf[c] > Usable(fr)}
Squeezed(t, fr, fl) ==
    [c \in C |-> IF c \notin NoRoom(t, fr) THEN t[c] ELSE IF fl /\ t[c] = "running" THEN "stopping" ELSE "idle"]

(* Events *)

Blank(c) == turn[c] = "idle" /\ kv[c] = "none" /\ \A b \in C : JobOf[b] = JobOf[c] => turn[b] = "idle" /\ kv[b] = "none"
Alone(c) == \A b \in C \ {c} : JobOf[b] # JobOf[c]
Tools(j, t) == Cardinality({b \in C : JobOf[b] = j /\ t[b] = "tool"})  \* each of them has a turn to come
FirstBlank(c) ==  \* contexts that hold nothing are alike: the first of them is as good as any
    \A b \in 1..(c - 1) : ~(Blank(b) /\ Blank(c) /\ ((Alone(b) /\ Alone(c) /\ TenantOf[JobOf[b]] = TenantOf[JobOf[c]]
                                                      /\ MaxOf[b] = MaxOf[c]) \/ JobOf[b] = JobOf[c]))

TurnArrived(c) ==
    LET j == JobOf[c] IN
    /\ turn[c] \in {"idle", "tool"} /\ ~Dead(c) /\ FirstBlank(c)
    /\ MaxOf[c] <= Usable(frozen) /\ (drain => Live(j))
    /\ Live(j) => (Turns = 0 \/ turn[c] = "tool" \/ left[j] > Tools(j, turn))
    /\ turn' = [turn EXCEPT ![c] = "waiting"]
    /\ \E e \in IF "edit" \in Unusual THEN BOOLEAN ELSE {FALSE} :
        LET now == e /\ ~Copied(c)
            d == IF now THEN 0 ELSE dev[c]
            h == IF now THEN 0 ELSE hst[c]
        IN  /\ e => (dev[c] > 0 \/ hst[c] > 0)
            /\ stale' = [stale EXCEPT ![c] = @ \/ (e /\ Copied(c))]
            /\ \E n \in (IF e THEN 1 ELSE Larger(1, Larger(Smaller(MaxOf[c], d), Smaller(MaxOf[c], h))))..MaxOf[c] :
                    need' = [need EXCEPT ![c] = n]
            /\ Have([kv EXCEPT ![c] = IF now THEN "none" ELSE @], [dev EXCEPT ![c] = d], [hst EXCEPT ![c] = h])
    /\ order' = IF Live(j) THEN order ELSE [order EXCEPT ![j] = 1 + Cardinality({i \in Jobs : Live(i)})]
    /\ left' = [left EXCEPT ![j] = IF Turns = 0 THEN 0 ELSE IF Live(j) THEN @ - 1 ELSE Turns - 1]
    /\ UNCHANGED <<had, keep, back, count, bypasses, over, flight, open, frozen, drain>>

Ended(c) == IF flight /\ Runs(c) THEN "stopping" ELSE IF turn[c] = "stopping" THEN "stopping" ELSE "idle"

TurnCancelled(c) ==
    /\ "cancel turn" \in Unusual /\ (Waits(c) \/ Runs(c))
    /\ Becomes([turn EXCEPT ![c] = Ended(c)], need, {}, {})
    /\ IF Runs(c) /\ ~flight
       THEN \E b \in 0..Smaller(dev[c], need[c]) :
                Have([kv EXCEPT ![c] = Where(b, hst[c])], [dev EXCEPT ![c] = b], hst)
       ELSE UNCHANGED <<kv, dev, hst, free, hfree>>
    /\ UNCHANGED <<had, keep, stale, flight, frozen, drain>>

Stops(j, S) ==  \* all turns of a job end; S: contexts whose holdings end too
    LET mine == {c \in C : JobOf[c] = j}
        off == {c \in mine : Runs(c) /\ ~flight}
    IN  /\ Becomes([c \in C |-> IF c \in mine THEN Ended(c) ELSE turn[c]], need, {}, {j})
        /\ \E b \in [off -> 0..Pool] :
            /\ \A c \in off : b[c] <= Smaller(dev[c], need[c])
            /\ LET d == [c \in C |-> IF c \in S /\ ~(flight /\ In(c)) /\ ~Owed(c) THEN 0
                                     ELSE IF c \in off THEN b[c] ELSE dev[c]]
                   h == [c \in C |-> IF c \in S /\ ~(flight /\ In(c)) /\ ~Owed(c) THEN 0 ELSE hst[c]]
                   k == [c \in C |->
                            IF c \in S
                            THEN IF flight /\ In(c) THEN "device_dead"
                                 ELSE IF kv[c] = "leaving" THEN "leaving_dead"
                                 ELSE IF kv[c] = "returning" THEN "returning_dead"
                                 ELSE IF Dead(c) THEN kv[c] ELSE "none"
                            ELSE IF c \in off THEN Where(b[c], hst[c]) ELSE kv[c]]
               IN Have(k, d, h)

JobCancelled(j) ==
    /\ "cancel" \in Unusual /\ Live(j) /\ Stops(j, {})
    /\ UNCHANGED <<had, keep, stale, flight, frozen, drain>>

SessionClosed(j) ==
    LET mine == {c \in C : JobOf[c] = j} IN
    /\ "close" \in Unusual /\ Stops(j, mine)
    /\ \E c \in mine : kv[c] # "none" /\ ~Dead(c)
    /\ stale' = [c \in C |-> stale[c] /\ c \notin mine]
    /\ UNCHANGED <<had, keep, flight, frozen, drain>>

Drain == "drain" \in Unusual /\ ~drain /\ drain' = TRUE
    /\ UNCHANGED <<turn, kv, dev, hst, copies, need, count, order, bypasses, over, left, flight, open, frozen, free,
                   hfree>>

(* What may become of a turn in the batch. The earliest-arrived of them advances; others may be passed. *)
First(c) == Runs(c) /\ \A b \in C : Runs(b) => ~Before(JobOf[b], JobOf[c])
Outcomes(c) ==
    IF c \notin C THEN {"none"} ELSE
    IF turn[c] = "stopping" THEN {"stopped", "stopped early"} \cup (IF "fail" \in Unusual THEN {"failed"} ELSE {})
    ELSE IF ~Runs(c) THEN {"none"}
    ELSE {"final", "tool"} \cup (IF First(c) THEN {} ELSE {"passed"})
                   \cup (IF need[c] < MaxOf[c] THEN {"grows"} ELSE {})
                   \cup (IF need[c] + 1 < Smaller(MaxOf[c], dev[c] + 1) THEN {"grows more"} ELSE {})
                   \cup (IF "fail" \in Unusual THEN {"failed"} ELSE {})

BatchDone ==
    /\ flight /\ flight' = FALSE
    /\ \E o1 \in Outcomes(1), o2 \in Outcomes(2), o3 \in Outcomes(3), o4 \in Outcomes(4) :
        LET out == <<o1, o2, o3, o4>>
            lost == {c \in C : out[c] = "failed" \/ kv[c] = "device_dead"}
            t == [c \in C |-> IF out[c] \in {"none"} THEN turn[c]
                              ELSE IF out[c] \in {"grows", "grows more", "passed"} THEN "running"
                              ELSE IF out[c] = "tool" THEN "tool" ELSE "idle"]
            n == [c \in C |-> IF out[c] = "grows" THEN need[c] + 1
                              ELSE IF out[c] = "grows more" THEN Smaller(MaxOf[c], dev[c] + 1) ELSE need[c]]
            d == [c \in C |-> IF ~In(c) THEN dev[c]
                              ELSE IF c \in lost \/ out[c] = "stopped early" THEN 0
                              ELSE IF t[c] = "running" /\ count[c] >= P THEN dev[c] ELSE Smaller(dev[c], n[c])]
            h == [c \in C |-> IF c \in lost THEN 0 ELSE hst[c]]
            ended == {JobOf[c] : c \in {c \in C : Runs(c) /\ out[c] \in {"final", "failed"}}}
        IN  /\ \A j \in Jobs : Turns = 0 \/ Tools(j, t) <= left[j]
            /\ Becomes(t, n, ended, {})
            /\ Have([c \in C |-> IF In(c) THEN Where(d[c], h[c]) ELSE kv[c]], d, h)
    /\ UNCHANGED <<had, keep, stale, frozen, drain>>

BatchOverdue ==
    /\ flight /\ Len(frozen) < Losses
    /\ LET record == [dev |-> Sum([c \in C |-> IF In(c) THEN dev[c] ELSE 0]),
                      hst |-> Sum([c \in C |-> IF In(c) THEN hst[c] ELSE 0]), owed |-> "batch"]
           t == [c \in C |-> IF In(c) THEN "idle" ELSE turn[c]]
       IN  /\ frozen' = Append(frozen, record)
           /\ Becomes(Squeezed(t, frozen', FALSE), need,
                      {JobOf[c] : c \in {c \in C : Runs(c)} \cup NoRoom(t, frozen')}, {})
           /\ kv' = [c \in C |-> IF In(c) THEN "none" ELSE kv[c]]
           /\ dev' = [c \in C |-> IF In(c) THEN 0 ELSE dev[c]]
           /\ hst' = [c \in C |-> IF In(c) THEN 0 ELSE hst[c]]
    /\ flight' = FALSE
    /\ UNCHANGED <<had, keep, stale, drain, free, hfree>>

Back(c) == IF turn[c] = "returning" THEN [turn EXCEPT ![c] = "waiting"] ELSE turn
FailedKeeps(c) == IF Wrong = "a failed copy keeps its blocks" THEN dev[c] ELSE keep[c]
Settled(c) == /\ had' = [had EXCEPT ![c] = 0] /\ keep' = [keep EXCEPT ![c] = 0] /\ stale' = [stale EXCEPT ![c] = FALSE]

SwapDone(c, failed) ==
    /\ Owed(c) /\ (failed => "fail" \in Unusual)
    /\ LET out == kv[c] = "leaving"
           lost == Dead(c) \/ stale[c] \/ (failed /\ ~out)
           d == IF lost THEN 0
                ELSE IF out THEN (IF failed THEN FailedKeeps(c) ELSE keep[c])
                ELSE IF turn[c] = "returning" THEN dev[c] ELSE Smaller(dev[c], hst[c])
           h == IF lost THEN 0 ELSE IF failed THEN had[c] ELSE hst[c]
       IN Have([kv EXCEPT ![c] = Where(d, h)], [dev EXCEPT ![c] = d], [hst EXCEPT ![c] = h])
    /\ turn' = Back(c) /\ Settled(c)
    /\ back' = [back EXCEPT ![c] = turn[c] = "returning" /\ ~failed
                                   /\ Wrong \notin {"ready caches swapped without a reservation",
                                                    "ageing of the last queue only"}]
    /\ UNCHANGED <<need, count, order, bypasses, over, left, flight, open, frozen, drain>>

SwapOverdue(c) ==
    /\ Owed(c) /\ Len(frozen) < Losses
    /\ frozen' = Append(frozen, [dev |-> dev[c], hst |-> hst[c], owed |-> "copy"])
    /\ LET off == {b \in NoRoom(Back(c), frozen') : Runs(b) /\ ~flight}
           d == [b \in C |-> IF b = c THEN 0 ELSE IF b \in off THEN Smaller(dev[b], need[b]) ELSE dev[b]]
       IN  /\ Becomes(Squeezed(Back(c), frozen', flight), need, {JobOf[b] : b \in NoRoom(Back(c), frozen')}, {})
           /\ kv' = [kv EXCEPT ![c] = "none"] /\ dev' = d /\ hst' = [hst EXCEPT ![c] = 0]
           /\ free' = free + Sum(dev) - Sum(d) - (IF Wrong = "free before the report" THEN 0 ELSE dev[c])
    /\ Settled(c)
    /\ UNCHANGED <<hfree, flight, drain>>

Late(i, owed) ==
    /\ i \in 1..Len(frozen) /\ frozen[i].owed = owed
    /\ free' = free + frozen[i].dev /\ hfree' = hfree + frozen[i].hst
    /\ frozen' = SubSeq(frozen, 1, i - 1) \o SubSeq(frozen, i + 1, Len(frozen))
    /\ UNCHANGED <<turn, kv, dev, hst, copies, need, count, order, bypasses, over, left, flight, open, drain>>

BatchDoneLate(i) == Late(i, "batch")
SwapDoneLate(i) == Late(i, "copy")

(* Decisions, all between batches *)

Running == {c \in C : Runs(c)}
CopyOwed == \E c \in C : Owed(c)
Growth == Sum([c \in C |-> IF Runs(c) THEN Larger(0, need[c] - dev[c]) ELSE 0])
Want(c) == IF count[c] >= P /\ Wrong # "no maximum after P preemptions" THEN MaxOf[c] ELSE need[c]
Short(c) == Larger(0, Want(c) - dev[c])
Promised == Sum([c \in C |-> IF kv[c] = "leaving" THEN dev[c] - keep[c] ELSE 0])
GrowthBarred == Wrong = "growth barred by the head" /\ \E j \in Jobs : Promoted(j) /\ JobWaits(j)

Level(j) ==  \* of three strict queues, of which the last ages: for a variant
    IF j = 1 THEN 2 ELSE IF j = 3 /\ bypasses[j] < K THEN 3 ELSE 1

MayBePlaced(c) ==  \* rules 1 and 4, and what the limits say
    LET j == JobOf[c] IN
    /\ ~flight /\ Ready(c) /\ ~Copied(c) /\ Growth <= free
    /\ Cardinality(Running) < Slots
    /\ Cardinality({b \in Running : TenantOf[JobOf[b]] = TenantOf[j]}) < TenantSlots
    /\ IF Wrong = "ageing of the last queue only"
       THEN \A b \in C : Ready(b) => Level(j) <= Level(JobOf[b])
       ELSE \A r \in Jobs : (Promoted(r) /\ JobWaits(r)) =>
                \/ (r = j /\ Wrong # "a promoted job bars itself")
                \/ (Promoted(j) /\ Before(j, r))

Forced(c) ==  \* rules 2 and 6; the open turn and those that are back are asked before rule 6
    \/ Promoted(JobOf[c])
    \/ /\ Running = {} /\ ~CopyOwed
       /\ IF open \in {0, c} THEN TRUE ELSE Short(open) > free
       /\ back[c] \/ \A b \in C : ~back[b]
Headroom(c) ==  \* rule 7: none where it must be waived, and elsewhere the chooser's
    IF Wrong = "headroom without its waiver" /\ dev[c] = 0 /\ hst[c] = 0 THEN 2 ELSE 0
Lacks(c, forced) ==  \* rule 3: what is free up to the open turn's need is its own
    Short(c) + Headroom(c) - (free - Growth) + IF forced \/ open \in {0, c} THEN 0 ELSE Short(open)

Pinned(v) == Wrong = "pins that never break" /\ turn[v] = "tool"
Evictable(c, v, forced) ==
    IF v \in C \ {c} /\ Cache(v) /\ ~Pinned(v) /\ (back[v] => forced) THEN dev[v] ELSE 0
AllEvictable(c) == Sum([v \in C |-> Evictable(c, v, TRUE)])
Nothing == <<0, 0, 0, 0>>
Evictions(c, forced, n) ==  \* blocks taken from each context, n in all
    IF n = 0 THEN {Nothing} ELSE
    {t \in (0..Evictable(c, 1, forced)) \X (0..Evictable(c, 2, forced)) \X (0..Evictable(c, 3, forced))
            \X (0..Evictable(c, 4, forced)) : t[1] + t[2] + t[3] + t[4] = n}
Drops(c, forced, lacks) ==  \* what makes room for c at once
    IF lacks <= 0 THEN {Nothing}
    ELSE IF (forced \/ open \in {0, c}) /\ Promised = 0 THEN Evictions(c, forced, lacks) ELSE {}

(* A turn is placed, with evictions t, on a holding that is then in state k. *)
PlacedWith(c, t, k, forced) ==
    LET d == [v \in C |-> IF v = c THEN Larger(dev[c], Want(c)) ELSE dev[v] - t[v]] IN
    /\ Have([v \in C |-> IF v = c THEN k ELSE IF t[v] > 0 THEN Where(d[v], hst[v]) ELSE kv[v]], d, hst)
    /\ back' = [v \in C |-> back[v] /\ v # c /\ t[v] = 0]
    /\ open' = IF forced \/ open = c THEN 0 ELSE open
    /\ UNCHANGED <<had, keep, stale, need, count, order, over, left, flight, frozen, drain>>

Dispatch(c, forced, lacks) ==
    /\ \E t \in Drops(c, forced, lacks) : PlacedWith(c, t, "device", forced)
    /\ bypasses' = [r \in Jobs |-> IF Before(r, JobOf[c]) /\ JobWaits(r) THEN Smaller(K + 1, bypasses[r] + 1)
                                   ELSE bypasses[r]]
    /\ turn' = [turn EXCEPT ![c] = "running"]

SwapIn(c, forced, lacks) ==
    /\ hst[c] > dev[c]
    /\ \E t \in Drops(c, forced, lacks) : PlacedWith(c, t, "returning", forced)
    /\ turn' = [turn EXCEPT ![c] = "returning"]
    /\ UNCHANGED bypasses

(* Room for c that is not there at once: c becomes the open turn. out: caches that are copied to the host first; given:
   contexts whose host copies are given up for theirs. *)
MakesRoom(c, out, t, given) ==
    LET missing == Sum([v \in C |-> IF v \in out THEN dev[v] - hst[v] ELSE 0])
        d == [v \in C |-> IF v \in out THEN dev[v] ELSE dev[v] - t[v]]
        h == [v \in C |-> IF v \in out THEN dev[v] ELSE IF v \in given THEN 0 ELSE hst[v]]
    IN  /\ IF missing <= hfree THEN given = {}
           ELSE missing <= hfree + Sum([v \in C |-> IF v \in given THEN hst[v] ELSE 0])
        /\ Have([v \in C |-> IF v \in out THEN "leaving"
                             ELSE IF t[v] > 0 \/ v \in given THEN Where(d[v], h[v]) ELSE kv[v]], d, h)
        /\ had' = [v \in C |-> IF v \in out THEN hst[v] ELSE had[v]]
        /\ keep' = [v \in C |-> IF v \in out THEN dev[v] - t[v] ELSE keep[v]]
        /\ back' = [v \in C |-> back[v] /\ t[v] = 0]
        /\ open' = IF Wrong \in {"the open turn reserves nothing", "ageing of the last queue only"} THEN 0 ELSE c
        /\ UNCHANGED <<turn, stale, need, count, order, bypasses, over, left, flight, frozen, drain>>

Room(c, forced, lacks) ==  \* how much is evicted for c now: what is missing, or, where everything yields, what there is
    LET n == Larger(0, lacks - Promised) IN IF forced THEN Smaller(n, AllEvictable(c)) ELSE n

SwapOut(c, forced, room) ==
    \E t \in Evictions(c, forced, room) :
        \E out \in (SUBSET {v \in C : t[v] > 0 /\ dev[v] > hst[v]}) \ {{}} :
            \E given \in SUBSET {v \in C \ (out \cup {c}) : hst[v] > 0 /\ kv[v] \in {"device", "host"}} :
                MakesRoom(c, out, t, given)

DropCache(c, forced, lacks, room) ==  \* and even so c cannot be placed yet
    room > 0 /\ room < lacks /\ \E t \in Evictions(c, forced, room) : MakesRoom(c, {}, t, {})

Hold(c, lacks, room) ==  \* what copies under way will free is enough for c
    room = 0 /\ Promised >= lacks /\ open # c /\ MakesRoom(c, {}, Nothing, {})

Placing(c, forced, lacks) ==
    \/ Dispatch(c, forced, lacks) \/ SwapIn(c, forced, lacks)
    \/ /\ lacks > 0 /\ (forced \/ open \in {0, c})
       /\ LET room == Room(c, forced, lacks) IN
            SwapOut(c, forced, room) \/ DropCache(c, forced, lacks, room) \/ Hold(c, lacks, room)

Place(c) == MayBePlaced(c) /\ LET forced == Forced(c) IN Placing(c, forced, Lacks(c, forced))

DropCacheToGrow(c) ==  \* rule 4: any part of any cache that is not running
    /\ ~flight /\ Growth > free /\ Cache(c) /\ ~GrowthBarred /\ ~Pinned(c)
    /\ \E b \in 0..(dev[c] - 1) :
            Have([kv EXCEPT ![c] = Where(b, hst[c])], [dev EXCEPT ![c] = b], hst)
    /\ back' = [back EXCEPT ![c] = FALSE]
    /\ UNCHANGED <<turn, had, keep, stale, need, count, order, bypasses, over, left, flight, open, frozen, drain>>

Preempt(c) ==  \* rules 4 and 5: the latest-arrived turn that does not hold its maximum
    /\ ~flight /\ Growth > free /\ ~GrowthBarred
    /\ \A v \in C : Cache(v) => Pinned(v)
    /\ Runs(c) /\ (count[c] < P \/ Wrong = "no preemption cap")
    /\ \A b \in Running : Before(JobOf[c], JobOf[b]) => dev[b] = MaxOf[b]
    /\ turn' = [turn EXCEPT ![c] = "preempted"] /\ count' = [count EXCEPT ![c] = Smaller(P + 1, @ + 1)]
    /\ \E b \in 0..Smaller(dev[c], need[c]) :
            Have([kv EXCEPT ![c] = Where(b, hst[c])], [dev EXCEPT ![c] = b], hst)
    /\ UNCHANGED <<copies, need, order, bypasses, over, left, flight, open, frozen, drain>>

RunBatch ==
    /\ ~flight /\ Running # {} /\ Growth <= free /\ (GrowthBarred => Growth = 0)
    /\ \E e \in [Running -> 0..Ahead] :
        LET d == [c \in C |-> IF Runs(c) THEN Larger(dev[c], Smaller(MaxOf[c], need[c] + e[c])) ELSE dev[c]] IN
        /\ Sum(d) - Sum(dev) <= free
        /\ \A c \in Running : e[c] > 0 => d[c] = need[c] + e[c]
        /\ Have(kv, d, hst)
    /\ flight' = TRUE
    /\ UNCHANGED <<turn, copies, need, count, order, bypasses, over, left, open, frozen, drain>>

Decision ==
    \/ RunBatch
    \/ \E c \in C : Place(c) \/ DropCacheToGrow(c) \/ Preempt(c)
Rest == drain /\ (\A j \in Jobs : ~Live(j)) /\ ~CopyOwed /\ frozen = <<>> /\ UNCHANGED vars  \* the end
Event ==
    \/ Rest \/ BatchDone \/ BatchOverdue \/ Drain
    \/ \E j \in Jobs : JobCancelled(j) \/ SessionClosed(j)
    \/ \E c \in C : TurnArrived(c) \/ TurnCancelled(c) \/ SwapOverdue(c) \/ \E failed \in BOOLEAN : SwapDone(c, failed)
    \/ \E i \in 1..Losses : BatchDoneLate(i) \/ SwapDoneLate(i)
Next == Decision \/ Event
Spec == Init /\ [][Next]_vars

(* What liveness rests on: decisions are made, what is owed is reported, as done or as failed, and tools return. *)
FairSpec ==
    /\ Spec /\ WF_vars(RunBatch) /\ WF_vars(Decision) /\ WF_vars(BatchDone)
    /\ WF_vars(BatchDoneLate(1) \/ SwapDoneLate(1))
    /\ \A c \in C : WF_vars(SwapDone(c, FALSE) \/ SwapDone(c, TRUE)) /\ SF_vars(turn[c] = "tool" /\ TurnArrived(c))

(* The claims *)

INV_1 ==
    /\ free + Sum(dev) + Total(frozen, "dev") = Pool /\ free >= 0
    /\ hfree + Sum(hst) + Total(frozen, "hst") = HostPool /\ hfree >= 0
    /\ \A c \in C : dev[c] >= 0 /\ hst[c] >= 0

INV_2 == \A c \in C :  \* what couples the two machines
    /\ In(c) => kv[c] = IF Dead(c) THEN "device_dead" ELSE "device"
    /\ kv[c] = "device_dead" => turn[c] = "stopping"
    /\ turn[c] = "stopping" => flight
    /\ turn[c] = "returning" => kv[c] = "returning"
    /\ kv[c] \in {"none", "host"} <=> dev[c] = 0
    /\ kv[c] = "none" => hst[c] = 0
    /\ kv[c] = "host" => hst[c] > 0
    /\ Dead(c) => turn[c] \in {"idle", "stopping"}
    /\ (Waits(c) \/ Runs(c) \/ turn[c] = "tool") => Live(JobOf[c])

INV_3 == \A c \in C : Runs(c) => (flight => dev[c] >= need[c]) /\ (count[c] >= P => dev[c] = MaxOf[c])
INV_5 == \A c \in C : (Waits(c) \/ Runs(c)) => MaxOf[c] <= Usable(frozen)
INV_6 == ((\E c \in C : Waits(c)) /\ ~flight /\ ~CopyOwed) => ENABLED Decision
LIVE_1 == \A j \in Jobs : bypasses[j] <= K
LIVE_2 == ((\E c \in C : Waits(c)) /\ ~flight /\ ~CopyOwed) ~> (flight \/ CopyOwed \/ ~\E c \in C : Waits(c))
LIVE_3 ==
    [][\A c \in C : Preempt(c) => count[c] < P /\
        ((\A b \in Running \ {c} : Before(JobOf[c], JobOf[b])) => \A b \in Running \ {c} : dev[b] = MaxOf[b])]_vars
LIVE_4 == \A j \in Jobs : Live(j) ~> ~Live(j)
=============================================================================
