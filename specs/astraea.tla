------------------------------ MODULE astraea ------------------------------
(* The safety rules in counts of blocks, for a few sessions of one context each. The actions have the names of the
   events and decisions; turns and holdings have the states of TURN_TABLE and KV_TABLE, but that an ended turn is "tool"
   (its job lives on) or "idle", and that a quarantined holding is a record in `frozen`.

   Whom to place, whom to evict, how much, and with a copy or not is open: what holds here holds for every ranking,
   estimate and eviction order. So the rules that only say who may cause evictions (2, 3, 6, 7) are left out, which
   allows more. Left out as well, and so not checked: shared prefixes, tenants, several contexts or jobs in a session,
   a turn cancelled without its job, prompts that give up a part of what is held, the closing of sessions, draining,
   plans of several steps, and more than one overdue report of a context at a time. How much of a context a copy to the
   host leaves on the device is chosen when it is reported. *)
EXTENDS Integers, Sequences, TLC

CONSTANTS Sessions, Pool, HostPool, Max, K, P, Wrong
\* Max: blocks of each turn's prompt and maximum output. K, P: bypass_max, preemptions_max. Wrong: the rule that is
\* broken, "nothing" if none is.

VARIABLES
    turn,         \* by session: a state of TURN_TABLE, or "tool" between two turns, or "idle" without a job
    kv, dev, hst, \* by session: a state of KV_TABLE, and the blocks held on the device and the host
    had,          \* what the host had before a copy out began
    need,         \* blocks of the turn's known tokens
    count,        \* how often the turn was preempted
    full,         \* whether the turn was dispatched with blocks for its maximum
    order,        \* sessions with a live job, in order of the job's arrival
    bypasses, promoted,
    flight,       \* sessions whose turns are in the batch that is owed; {} if none is
    frozen,       \* by session: what an overdue report froze: blocks of both sides, and what is owed
    free, hfree   \* as the ledger counts them

Alike == Permutations(Sessions)
vars == <<turn, kv, dev, hst, had, need, count, full, order, bypasses, promoted, flight, frozen, free, hfree>>
blocks == <<dev, hst, free, hfree>>
jobs == <<order, bypasses, promoted>>

Nothing == [dev |-> 0, hst |-> 0, owed |-> "nothing"]
Smaller(a, b) == IF a < b THEN a ELSE b
Larger(a, b) == IF a < b THEN b ELSE a
RECURSIVE Sum(_, _)
Sum(f, S) == IF S = {} THEN 0 ELSE LET s == CHOOSE s \in S : TRUE IN f[s] + Sum(f, S \ {s})

Usable(fr) == Pool - Sum([s \in Sessions |-> fr[s].dev], Sessions)

Ready(s) == turn[s] \in {"waiting", "preempted"}
Waits(s) == turn[s] \in {"waiting", "preempted", "returning"}
Runs(s) == turn[s] \in {"running", "stopping"}
Live(s) == turn[s] # "idle"
Place(s) == CHOOSE i \in 1..Len(order) : order[i] = s
Before(r, s) == Live(r) /\ Live(s) /\ Place(r) < Place(s)
Without(S) == SelectSeq(order, LAMBDA s : s \notin S)
Between == flight = {} /\ \A s \in Sessions : turn[s] # "stopping"
Owed(s) == kv[s] \in {"leaving", "returning"}
Cache(s) == kv[s] = "device" /\ ~Runs(s)

Init ==
    /\ turn = [s \in Sessions |-> "idle"] /\ kv = [s \in Sessions |-> "none"]
    /\ dev = [s \in Sessions |-> 0] /\ hst = [s \in Sessions |-> 0] /\ had = [s \in Sessions |-> 0]
    /\ need = [s \in Sessions |-> 0] /\ count = [s \in Sessions |-> 0] /\ full = [s \in Sessions |-> FALSE]
    /\ order = <<>> /\ bypasses = [s \in Sessions |-> 0] /\ promoted = [s \in Sessions |-> FALSE]
    /\ flight = {} /\ frozen = [s \in Sessions |-> Nothing] /\ free = Pool /\ hfree = HostPool

(* What ends jobs: f says for each session what becomes of its turn; "idle" ends its job. *)
Becomes(f) ==
    LET over == {s \in Sessions : f[s] = "idle"} IN
    /\ turn' = f
    /\ order' = Without(over)
    /\ bypasses' = [s \in Sessions |-> IF s \in over THEN 0 ELSE bypasses[s]]
    /\ promoted' = [s \in Sessions |-> s \notin over /\ promoted[s]]
    /\ count' = [s \in Sessions |-> IF f[s] \in {"idle", "tool"} THEN 0 ELSE count[s]]
    /\ full' = [s \in Sessions |-> f[s] \in {"running", "stopping"} /\ full[s]]
    /\ need' = [s \in Sessions |-> IF f[s] \in {"idle", "tool"} THEN 0 ELSE need[s]]

(* Rule 9: what no longer fits beside what is frozen ends at once, in flight with the batch's report. *)
Squeezed(f, fr, fl) ==
    [s \in Sessions |->
        IF Wrong = "quarantine ends no turn" \/ f[s] \in {"idle", "tool", "stopping"} \/ Max <= Usable(fr) THEN f[s]
        ELSE IF s \in fl THEN "stopping" ELSE "idle"]

(* Events *)

TurnArrived(s) ==
    /\ turn[s] \in {"idle", "tool"} /\ Max <= Usable(frozen)
    /\ turn' = [turn EXCEPT ![s] = "waiting"]
    /\ \E n \in Larger(1, Larger(dev[s], hst[s]))..Max : need' = [need EXCEPT ![s] = n]
    /\ order' = IF turn[s] = "idle" THEN Append(order, s) ELSE order
    /\ promoted' = [promoted EXCEPT ![s] = @ \/ K = 0]
    /\ UNCHANGED <<kv, blocks, had, count, full, bypasses, flight, frozen>>

JobCancelled(s) ==
    /\ turn[s] \in {"waiting", "returning", "running", "preempted", "tool"}
    /\ Becomes([turn EXCEPT ![s] = IF s \in flight THEN "stopping" ELSE "idle"])
    /\ UNCHANGED <<kv, blocks, had, flight, frozen>>

BatchDone ==
    /\ flight # {}
    /\ \E out \in [flight -> {"running", "tool", "idle", "failed"}] :
        LET failed == {s \in flight : out[s] = "failed"}
            f == [s \in Sessions |-> IF s \notin flight THEN turn[s]
                                     ELSE IF turn[s] = "stopping" \/ out[s] = "failed" THEN "idle" ELSE out[s]]
        IN  /\ \A s \in flight : turn[s] = "stopping" => out[s] \in {"idle", "failed"}
            /\ Becomes(f)
            /\ dev' = [s \in Sessions |->
                    IF s \in failed THEN 0
                    ELSE IF s \in flight /\ f[s] # "running" THEN Smaller(dev[s], need[s]) ELSE dev[s]]
            /\ hst' = [s \in Sessions |-> IF s \in failed THEN 0 ELSE hst[s]]
            /\ kv' = [s \in Sessions |-> IF s \in failed THEN "none" ELSE kv[s]]
            /\ free' = free + Sum([s \in Sessions |-> dev[s] - dev'[s]], Sessions)
            /\ hfree' = hfree + Sum([s \in Sessions |-> hst[s] - hst'[s]], Sessions)
    /\ flight' = {}
    /\ UNCHANGED <<had, frozen>>

BatchOverdue ==
    /\ flight # {} /\ \A s \in flight : frozen[s] = Nothing
    /\ frozen' = [s \in Sessions |-> IF s \in flight THEN [dev |-> dev[s], hst |-> hst[s], owed |-> "batch"]
                                     ELSE frozen[s]]
    /\ Becomes(Squeezed([s \in Sessions |-> IF s \in flight THEN "idle" ELSE turn[s]], frozen', {}))
    /\ kv' = [s \in Sessions |-> IF s \in flight THEN "none" ELSE kv[s]]
    /\ dev' = [s \in Sessions |-> IF s \in flight THEN 0 ELSE dev[s]]
    /\ hst' = [s \in Sessions |-> IF s \in flight THEN 0 ELSE hst[s]]
    /\ flight' = {}
    /\ UNCHANGED <<had, free, hfree>>

Back(s) == IF turn[s] = "returning" THEN [turn EXCEPT ![s] = "waiting"] ELSE turn

SwapDone(s, failed) ==
    /\ Owed(s)
    /\ \E keep \in 0..dev[s] :
        LET out == kv[s] = "leaving"
            d == IF out THEN (IF failed THEN dev[s] ELSE keep)
                 ELSE IF failed THEN 0 ELSE IF turn[s] = "returning" THEN dev[s] ELSE Smaller(dev[s], hst[s])
            h == IF failed THEN (IF out THEN had[s] ELSE 0) ELSE hst[s]
        IN  /\ IF out /\ ~failed THEN keep < dev[s] ELSE keep = 0
            /\ dev' = [dev EXCEPT ![s] = d] /\ hst' = [hst EXCEPT ![s] = h]
            /\ free' = free + dev[s] - d /\ hfree' = hfree + hst[s] - h
            /\ kv' = [kv EXCEPT ![s] = IF d > 0 THEN "device" ELSE IF h > 0 THEN "host" ELSE "none"]
    /\ turn' = Back(s) /\ had' = [had EXCEPT ![s] = 0]
    /\ UNCHANGED <<need, count, full, jobs, flight, frozen>>

SwapOverdue(s) ==
    /\ Owed(s) /\ frozen[s] = Nothing
    /\ frozen' = [frozen EXCEPT ![s] = [dev |-> dev[s], hst |-> hst[s], owed |-> "copy"]]
    /\ Becomes(Squeezed(Back(s), frozen', flight))
    /\ kv' = [kv EXCEPT ![s] = "none"] /\ dev' = [dev EXCEPT ![s] = 0] /\ hst' = [hst EXCEPT ![s] = 0]
    /\ had' = [had EXCEPT ![s] = 0]
    /\ free' = free + (IF Wrong = "free before the report" THEN dev[s] ELSE 0)
    /\ UNCHANGED <<hfree, flight>>

(* Late reports. That of an overdue batch frees all that it froze at once in the code, and here one after the other. *)
Freed(s) ==
    /\ free' = free + frozen[s].dev /\ hfree' = hfree + frozen[s].hst
    /\ frozen' = [frozen EXCEPT ![s] = Nothing]
    /\ UNCHANGED <<turn, kv, dev, hst, had, need, count, full, jobs, flight>>

BatchDoneLate(s) == frozen[s].owed = "batch" /\ Freed(s)
SwapDoneLate(s) == frozen[s].owed = "copy" /\ Freed(s)

(* Decisions, all between batches *)

Want(s) == IF count[s] >= P /\ Wrong # "no maximum after P preemptions" THEN Max ELSE need[s]

MayBePlaced(s) ==  \* rule 1, rule 5, and room
    /\ Between /\ Ready(s) /\ ~Owed(s)
    /\ Wrong = "no guard" \/ \A r \in Sessions \ (IF Wrong = "a promoted job bars itself" THEN {} ELSE {s}) : (promoted[r] /\ Waits(r)) => (promoted[s] /\ Before(s, r))
    /\ Want(s) - dev[s] <= free

Holds(s, b) == dev' = [dev EXCEPT ![s] = b] /\ free' = free + dev[s] - b

Dispatch(s) ==
    /\ MayBePlaced(s)
    /\ LET passed == {r \in Sessions : Waits(r) /\ Before(r, s)} IN
        /\ bypasses' = [r \in Sessions |-> bypasses[r] + IF r \in passed THEN 1 ELSE 0]
        /\ promoted' = [r \in Sessions |-> promoted[r] \/ (Live(r) /\ bypasses'[r] >= K + (IF Wrong = "promotion at K + 1" THEN 1 ELSE 0))]
    /\ turn' = [turn EXCEPT ![s] = "running"] /\ kv' = [kv EXCEPT ![s] = "device"]
    /\ Holds(s, Larger(dev[s], Want(s)))
    /\ full' = [full EXCEPT ![s] = count[s] >= P /\ Wrong # "no preemption cap"]
    /\ UNCHANGED <<hst, hfree, had, need, count, order, flight, frozen>>

SwapIn(s) ==
    /\ MayBePlaced(s) /\ hst[s] > dev[s]
    /\ turn' = [turn EXCEPT ![s] = "returning"] /\ kv' = [kv EXCEPT ![s] = "returning"]
    /\ Holds(s, Larger(dev[s], Want(s)))
    /\ UNCHANGED <<hst, hfree, had, need, count, full, jobs, flight, frozen>>

SwapOut(s) ==
    /\ Between /\ (Cache(s) \/ (Wrong = "a running cache is copied" /\ kv[s] = "device")) /\ dev[s] > hst[s] /\ dev[s] - hst[s] <= hfree
    /\ kv' = [kv EXCEPT ![s] = "leaving"]
    /\ had' = [had EXCEPT ![s] = hst[s]]
    /\ hst' = [hst EXCEPT ![s] = dev[s]] /\ hfree' = hfree - (dev[s] - hst[s])
    /\ UNCHANGED <<turn, dev, free, need, count, full, jobs, flight, frozen>>

DropCache(s) ==
    /\ Between
    /\ \/ /\ Cache(s)
          /\ \E b \in 0..(dev[s] - 1) :
                /\ Holds(s, b)
                /\ kv' = [kv EXCEPT ![s] = IF b > 0 THEN "device" ELSE IF hst[s] > 0 THEN "host" ELSE "none"]
          /\ UNCHANGED <<hst, hfree>>
       \/ /\ kv[s] \in {"device", "host"} /\ hst[s] > 0
          /\ hst' = [hst EXCEPT ![s] = 0] /\ hfree' = hfree + hst[s]
          /\ kv' = [kv EXCEPT ![s] = IF @ = "host" THEN "none" ELSE @]
          /\ UNCHANGED <<dev, free>>
    /\ UNCHANGED <<turn, had, need, count, full, jobs, flight, frozen>>

Preempt(s) ==  \* rule 4: growth finds nothing, and s arrived last of those that do not hold their maximum
    /\ Between /\ turn[s] = "running" /\ ~full[s]
    /\ free = 0 /\ ~\E r \in Sessions : Cache(r)
    /\ \E r \in Sessions : turn[r] = "running" /\ dev[r] < Max
    /\ \A r \in Sessions : (turn[r] = "running" /\ ~full[r]) => ~Before(s, r)
    /\ turn' = [turn EXCEPT ![s] = "preempted"] /\ count' = [count EXCEPT ![s] = @ + 1]
    /\ UNCHANGED <<kv, blocks, had, need, full, jobs, flight, frozen>>

RunBatch ==  \* some turns need one block more, and have it before the batch begins
    /\ Between
    /\ LET running == {s \in Sessions : turn[s] = "running"} IN
        /\ running # {}
        /\ flight' = running
        /\ \E grow \in SUBSET {s \in running : need[s] < Max} :
            LET b == [s \in Sessions |-> IF s \in grow THEN Larger(dev[s], need[s] + 1) ELSE dev[s]] IN
            /\ Sum(b, Sessions) - Sum(dev, Sessions) <= free
            /\ dev' = b /\ free' = free - (Sum(b, Sessions) - Sum(dev, Sessions))
            /\ need' = [s \in Sessions |-> IF s \in grow THEN need[s] + 1 ELSE need[s]]
    /\ UNCHANGED <<turn, kv, hst, hfree, had, count, full, jobs, frozen>>

Decision == RunBatch \/ \E s \in Sessions : Dispatch(s) \/ SwapIn(s) \/ SwapOut(s) \/ DropCache(s) \/ Preempt(s)
Event ==
    \/ BatchDone \/ BatchOverdue
    \/ \E s \in Sessions : \/ TurnArrived(s) \/ JobCancelled(s)
                           \/ SwapOverdue(s) \/ BatchDoneLate(s) \/ SwapDoneLate(s)
                           \/ \E failed \in BOOLEAN : SwapDone(s, failed)
Spec == Init /\ [][Decision \/ Event]_vars

(* The claims *)

INV_1 ==
    /\ free + Sum(dev, Sessions) + Sum([s \in Sessions |-> frozen[s].dev], Sessions) = Pool /\ free >= 0
    /\ hfree + Sum(hst, Sessions) + Sum([s \in Sessions |-> frozen[s].hst], Sessions) = HostPool /\ hfree >= 0
    /\ \A s \in Sessions : dev[s] >= 0 /\ hst[s] >= 0

INV_2 == \A s \in Sessions :  \* what couples the two machines
    /\ Runs(s) => kv[s] = "device"
    /\ turn[s] = "returning" => kv[s] = "returning"
    /\ kv[s] \in {"none", "host"} <=> dev[s] = 0
    /\ kv[s] = "none" => hst[s] = 0

INV_3 == \A s \in Sessions : (turn[s] = "running" => dev[s] >= need[s]) /\ (full[s] => dev[s] = Max)
INV_5 == \A s \in Sessions : (Waits(s) \/ turn[s] = "running") => Max <= Usable(frozen)
INV_6 ==  \* rules 1, 4, 5 and 9 leave something to do; of the rules left out this says nothing
    ((\E s \in Sessions : Waits(s)) /\ Between /\ ~\E s \in Sessions : Owed(s)) => ENABLED Decision
LIVE_1 == \A s \in Sessions : bypasses[s] <= K
LIVE_3 == \A s \in Sessions : count[s] <= P
=============================================================================
