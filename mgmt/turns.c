/* Whose turn it is: a singly linked FIFO. */
#include "mgmt/turns.h"

void turns_append(struct turns *turns, struct turn *turn) {
    if (turn->waiting)
        return;
    turn->waiting = true;
    turn->next = NULL;
    if (turns->last)
        turns->last->next = turn;
    else
        turns->first = turn;
    turns->last = turn;
    turns->count++;
}

struct turn *turns_take(struct turns *turns) {
    struct turn *turn = turns->first;
    if (turn)
        turns_remove(turns, turn);
    return turn;
}

void turns_remove(struct turns *turns, struct turn *turn) {
    if (!turn->waiting)
        return;
    struct turn *before = NULL;
    struct turn *t = turns->first;
    while (t != turn) {
        before = t;
        t = t->next;
    }
    if (before)
        before->next = turn->next;
    else
        turns->first = turn->next;
    if (turns->last == turn)
        turns->last = before;
    turn->waiting = false;
    turns->count--;
}
