------------------------------ MODULE blocks ------------------------------
(* Which block is whose, with a shared prefix of one block for each tenant: what astraea.tla leaves out because it
   counts. Everything that is under way notes the blocks that it touches, and only its report takes the note away.

   One turn, `head`, may at any time be the only one to be placed, as the first-ranked one or a promoted one is. Left
   out is what astraea.tla has: bounds on bypasses and preemptions, the room on the host, the open turn, cancellation. *)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS Blocks, N, Max, Losses, Wrong
TenantOf == [c \in 1..N |-> IF c = N THEN 2 ELSE 1]  \* the last context is of another tenant than the rest

VARIABLES
    free,       \* blocks
    own,        \* by context: the private blocks of its holding
    turn, need, \* by context: "idle", "waiting", "returning" or "running"; private blocks of the turn's known tokens
    copy, keep, \* by context: "none", "leaving" or "returning"; what the device keeps of what leaves
    host,       \* by context: how many private blocks the host has
    pre,        \* by tenant: its prefix: blocks, whether they are filled, who fills them, whose tokens they are
    flight,     \* whether a batch is owed; its turns are those that are running
    frozen,     \* what overdue reports hold: a sequence of sets of blocks
    head,       \* the context of the turn for which everything yields, or 0
    touched     \* [by, block]: what is under way reads or writes, overdue what it may write

vars == <<free, own, turn, need, copy, keep, host, pre, flight, frozen, head, touched>>
Alike == Permutations(Blocks)
C == 1..N
Batch == 0
Overdue == N + 1
Tenants == {1, 2}
Key(c) == IF Wrong = "a prefix is shared across tenants" THEN 1 ELSE TenantOf[c]
Empty == [blocks |-> {}, filled |-> FALSE, filler |-> 0, of |-> 0]
Prefix(c) == pre[Key(c)].blocks
Frozen == UNION {frozen[i] : i \in 1..Len(frozen)}
Runs(c) == turn[c] = "running"
Idle(c) == turn[c] # "running" /\ copy[c] = "none"
Running == {c \in C : Runs(c)}
CopyOwed == \E c \in C : copy[c] # "none"
Fits(fr) == Max + 1 <= Cardinality(Blocks) - Cardinality(fr)

Init ==
    /\ free = Blocks /\ own = [c \in C |-> {}] /\ turn = [c \in C |-> "idle"] /\ need = [c \in C |-> 0]
    /\ copy = [c \in C |-> "none"] /\ keep = [c \in C |-> {}] /\ host = [c \in C |-> 0]
    /\ pre = [t \in Tenants |-> Empty] /\ flight = FALSE /\ frozen = <<>> /\ head = 0 /\ touched = {}

Turns(t, n) ==
    /\ turn' = t /\ need' = [c \in C |-> IF t[c] = "idle" THEN 0 ELSE n[c]]
    /\ head' = IF head # 0 /\ t[head] \notin {"waiting", "returning"} THEN 0 ELSE head
Notes(by, S) == {[by |-> by, block |-> b] : b \in S}
Without(by) == {x \in touched : x.by # by}

(* Rule 8: only running turns and copies under way hold a prefix; it goes after what stands behind it. *)
Holds(c) == Runs(c) \/ copy[c] # "none" \/ (Wrong = "prefix pinned by waiting siblings" /\ turn[c] = "waiting")
Loose(t) == pre[t].blocks # {} /\ \A c \in C : Key(c) = t => ~Holds(c) /\ own[c] = {}

(* Events *)

TurnArrived(c) ==
    /\ turn[c] = "idle" /\ Fits(Frozen)
    /\ \E n \in (IF own[c] = {} THEN 1 ELSE Cardinality(own[c]))..Max : need' = [need EXCEPT ![c] = n]
    /\ turn' = [turn EXCEPT ![c] = "waiting"]
    /\ UNCHANGED <<free, own, copy, keep, host, pre, flight, frozen, head, touched>>

Let(t, S, trusted) ==  \* a prefix when the contexts S stop filling it: filled, or given up
    IF pre[t].filler \notin S \/ pre[t].filler = 0 THEN pre[t]
    ELSE IF trusted THEN [pre[t] EXCEPT !.filled = TRUE, !.filler = 0] ELSE Empty

BatchDone ==
    /\ flight /\ flight' = FALSE
    /\ \E out \in [Running -> {"stays", "grows", "ends", "fails"}] :
        LET lost == {c \in Running : out[c] = "fails"}
            p == [t \in Tenants |-> Let(t, Running, pre[t].filler \notin lost)]
        IN  /\ \A c \in Running : out[c] = "grows" => need[c] < Max
            /\ Fits(Frozen) \/ \A c \in Running : out[c] \in {"ends", "fails"}
            /\ Turns([c \in C |-> IF c \in Running /\ out[c] \in {"ends", "fails"} THEN "idle" ELSE turn[c]],
                     [c \in C |-> IF c \in Running /\ out[c] = "grows" THEN need[c] + 1 ELSE need[c]])
            /\ own' = [c \in C |-> IF c \in lost THEN {} ELSE own[c]]
            /\ host' = [c \in C |-> IF c \in lost THEN 0 ELSE host[c]]
            /\ pre' = p
            /\ free' = free \cup UNION {own[c] : c \in lost} \cup UNION {pre[t].blocks \ p[t].blocks : t \in Tenants}
    /\ touched' = Without(Batch)
    /\ UNCHANGED <<copy, keep, frozen>>

(* What is overdue keeps the blocks of the contexts S, and the prefix where one of them fills it. *)
Freeze(S, by) ==
    LET filling == IF Wrong = "a prefix that may be written to is used" THEN {}
                   ELSE {t \in Tenants : pre[t].filler \in S}
        blocks == UNION {own[c] : c \in S} \cup UNION {pre[t].blocks : t \in filling}
        mine == UNION {own[c] : c \in S} \cup UNION {pre[t].blocks : t \in {t \in Tenants : pre[t].filler \in S}}
        kept == [t \in Tenants |-> IF t \in filling THEN Empty ELSE Let(t, S, TRUE)]
    IN  /\ Len(frozen) < Losses
        /\ frozen' = Append(frozen, blocks)
        /\ LET off == IF Fits(Frozen') \/ flight THEN {} ELSE {c \in Running \ S : kept[Key(c)].filler = c}
           IN  /\ pre' = [t \in Tenants |-> IF kept[t].filler \in off THEN Empty ELSE kept[t]]
               /\ own' = [c \in C |-> IF c \in S \cup off THEN {} ELSE own[c]]
               /\ free' = free \cup UNION {own[c] \cup Prefix(c) : c \in off}
        /\ host' = [c \in C |-> IF c \in S THEN 0 ELSE host[c]]
        /\ copy' = [c \in C |-> IF c \in S THEN "none" ELSE copy[c]]
        /\ keep' = [c \in C |-> IF c \in S THEN {} ELSE keep[c]]
        /\ touched' = Without(by) \cup Notes(Overdue, {x.block : x \in {x \in touched : x.by = by}} \cap mine)

(* Rule 9; what is in flight ends with the batch's report. *)
Squeezed(t) == [c \in C |-> IF Fits(Frozen') \/ (t[c] = "running" /\ flight) THEN t[c] ELSE "idle"]

BatchOverdue ==
    /\ flight /\ flight' = FALSE /\ Freeze(Running, Batch)
    /\ Turns(Squeezed([c \in C |-> IF Runs(c) THEN "idle" ELSE turn[c]]), need)

Back(c) == IF turn[c] = "returning" THEN [turn EXCEPT ![c] = "waiting"] ELSE turn

SwapDone(c, failed) ==
    /\ copy[c] # "none"
    /\ LET out == copy[c] = "leaving"
           o == IF out THEN keep[c] ELSE IF failed THEN {} ELSE own[c]
           p == [t \in Tenants |-> Let(t, {c}, ~failed)]
       IN  /\ own' = [own EXCEPT ![c] = o] /\ pre' = p
           /\ free' = free \cup (own[c] \ o) \cup UNION {pre[t].blocks \ p[t].blocks : t \in Tenants}
           /\ host' = [host EXCEPT ![c] = IF failed = out THEN @ ELSE IF out THEN Cardinality(own[c]) ELSE 0]
    /\ copy' = [copy EXCEPT ![c] = "none"] /\ keep' = [keep EXCEPT ![c] = {}]
    /\ turn' = Back(c) /\ touched' = Without(c)
    /\ UNCHANGED <<need, flight, frozen, head>>

SwapOverdue(c) ==
    /\ copy[c] # "none" /\ Freeze({c}, c)
    /\ Turns(Squeezed(Back(c)), need)
    /\ UNCHANGED flight

ReportLate(i) ==  \* BatchDone or SwapDone
    /\ i \in 1..Len(frozen)
    /\ free' = free \cup frozen[i]
    /\ touched' = {x \in touched : ~(x.by = Overdue /\ x.block \in frozen[i])}
    /\ frozen' = SubSeq(frozen, 1, i - 1) \o SubSeq(frozen, i + 1, Len(frozen))
    /\ UNCHANGED <<own, turn, need, copy, keep, host, pre, flight, head>>

(* Decisions *)

Promote(c) ==  \* the ranking's or the guard's choice
    /\ ~flight /\ head = 0 /\ turn[c] = "waiting" /\ head' = c
    /\ UNCHANGED <<free, own, turn, need, copy, keep, host, pre, flight, frozen, touched>>

Lacking == {c \in Running : need[c] > Cardinality(own[c])}  \* each by one block
Growth == Lacking # {}
Place(c, state) ==
    /\ ~flight /\ ~Growth /\ turn[c] = "waiting" /\ copy[c] = "none" /\ head \in {0, c} /\ pre[Key(c)].filler = 0
    /\ LET fills == Prefix(c) = {}
           k == IF need[c] > Cardinality(own[c]) THEN need[c] - Cardinality(own[c]) ELSE 0
       IN \E S \in SUBSET free :
            /\ Cardinality(S) = k + (IF fills THEN 1 ELSE 0)
            /\ \E P \in (IF fills THEN {{b} : b \in S} ELSE {{}}) :
                /\ own' = [own EXCEPT ![c] = @ \cup (S \ P)]
                /\ pre' = IF fills THEN [pre EXCEPT ![Key(c)] =
                                            [blocks |-> P, filled |-> FALSE, filler |-> c, of |-> TenantOf[c]]] ELSE pre
                /\ free' = free \ S
                /\ IF state = "returning" THEN touched' = touched \cup Notes(c, own'[c] \cup P) ELSE UNCHANGED touched
    /\ turn' = [turn EXCEPT ![c] = state] /\ head' = IF head = c /\ state = "running" THEN 0 ELSE head
    /\ UNCHANGED <<need, keep, host, flight, frozen>>

Dispatch(c) == Place(c, "running") /\ UNCHANGED copy
SwapIn(c) == host[c] > Cardinality(own[c]) /\ Place(c, "returning") /\ copy' = [copy EXCEPT ![c] = "returning"]

Wanted(v) == Growth \/ (IF head # 0 THEN head # v ELSE \E c \in C \ {v} : turn[c] = "waiting")

SwapOut(v) ==
    /\ ~flight /\ ~Growth /\ Idle(v) /\ own[v] # {} /\ Wanted(v)
    /\ copy' = [copy EXCEPT ![v] = "leaving"]
    /\ \E K \in (SUBSET own[v]) \ {own[v]} :
        IF Wrong = "free before the swap report"
        THEN own' = [own EXCEPT ![v] = K] /\ free' = free \cup (own[v] \ K) /\ keep' = [keep EXCEPT ![v] = K]
        ELSE UNCHANGED <<own, free>> /\ keep' = [keep EXCEPT ![v] = K]
    /\ touched' = touched \cup Notes(v, own[v] \cup Prefix(v))
    /\ UNCHANGED <<turn, need, host, pre, flight, frozen, head>>

DropCache(v) ==
    /\ ~flight /\ Idle(v) /\ own[v] # {} /\ Wanted(v)
    /\ \E K \in (SUBSET own[v]) \ {own[v]} : own' = [own EXCEPT ![v] = K] /\ free' = free \cup (own[v] \ K)
    /\ UNCHANGED <<turn, need, copy, keep, host, pre, flight, frozen, head, touched>>

DropPrefix(t) ==  \* DropCache of a prefix
    /\ ~flight /\ Loose(t)
    /\ Growth \/ (IF head # 0 THEN Key(head) # t ELSE \E c \in C : turn[c] = "waiting" /\ Key(c) # t)
    /\ free' = free \cup pre[t].blocks /\ pre' = [pre EXCEPT ![t] = Empty]
    /\ UNCHANGED <<own, turn, need, copy, keep, host, flight, frozen, head, touched>>

Preempt(c) ==
    /\ ~flight /\ Cardinality(Lacking) > Cardinality(free) /\ Runs(c)
    /\ ~(\E v \in C : Idle(v) /\ own[v] # {}) /\ ~\E t \in Tenants : Loose(t)
    /\ turn' = [turn EXCEPT ![c] = "waiting"]
    /\ IF pre[Key(c)].filler = c  \* it has computed nothing yet
       THEN /\ pre' = [pre EXCEPT ![Key(c)] = Empty] /\ own' = [own EXCEPT ![c] = {}]
            /\ free' = free \cup own[c] \cup Prefix(c)
       ELSE UNCHANGED <<pre, own, free>>
    /\ UNCHANGED <<need, copy, keep, host, flight, frozen, head, touched>>

RunBatch ==
    /\ ~flight /\ Running # {}
    /\ \E f \in [Lacking -> free] :
        /\ \A b \in Lacking, c \in Lacking : b # c => f[b] # f[c]
        /\ own' = [c \in C |-> IF c \in Lacking THEN own[c] \cup {f[c]} ELSE own[c]]
        /\ free' = free \ {f[c] : c \in Lacking}
    /\ flight' = TRUE
    /\ touched' = touched \cup Notes(Batch, UNION {own'[c] \cup Prefix(c) : c \in Running})
    /\ UNCHANGED <<turn, need, copy, keep, host, pre, frozen, head>>

Decision ==
    \/ RunBatch \/ \E t \in Tenants : DropPrefix(t)
    \/ \E c \in C : Dispatch(c) \/ SwapIn(c) \/ SwapOut(c) \/ DropCache(c) \/ Preempt(c)
Event ==
    \/ BatchDone \/ BatchOverdue
    \/ \E c \in C : TurnArrived(c) \/ Promote(c) \/ SwapOverdue(c) \/ \E failed \in BOOLEAN : SwapDone(c, failed)
    \/ \E i \in 1..Losses : ReportLate(i)
Spec == Init /\ [][Decision \/ Event]_vars

(* The claims *)

INV_1 ==
    /\ free \cup UNION {own[c] : c \in C} \cup UNION {pre[t].blocks : t \in Tenants} \cup Frozen = Blocks
INV_3 ==
    /\ \A c \in C : own[c] \cap (free \cup Frozen) = {} /\ \A d \in C \ {c} : own[c] \cap own[d] = {}
    /\ \A t \in Tenants :
        pre[t].blocks \cap (free \cup Frozen \cup UNION {own[c] : c \in C} \cup pre[3 - t].blocks) = {}
    /\ free \cap Frozen = {}
    /\ \A x \in touched :
        x.block \in IF x.by = Overdue THEN Frozen
                    ELSE IF x.by = Batch THEN UNION {own[c] \cup Prefix(c) : c \in Running}
                    ELSE own[x.by] \cup Prefix(x.by)
    /\ \A c \in C : (own[c] # {} /\ Idle(c)) => pre[Key(c)].filled
    /\ \A c \in C : Runs(c) =>
        /\ Prefix(c) # {} /\ pre[Key(c)].of = TenantOf[c] /\ (pre[Key(c)].filled \/ pre[Key(c)].filler = c)
        /\ flight => Cardinality(own[c]) >= need[c]
INV_5 == \A c \in C : (turn[c] \in {"waiting", "returning"} \/ (Runs(c) /\ ~flight)) => Fits(Frozen)
INV_6 == ((\E c \in C : turn[c] = "waiting") /\ ~flight /\ ~CopyOwed) => ENABLED Decision
=============================================================================
