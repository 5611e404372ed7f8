/* Statuses: what every hypercall and every back end may answer. One small enum for the whole ABI.
 * Version 1. Append only. */
#pragma once

#include <stdint.h>

enum bh_status {
    BH_OK = 0,
    BH_AGAIN = 1,         /* Part of the work is done and kept: make the same call again. */
    BH_BAD_CALL = 2,      /* No such hypercall. */
    BH_BAD_CAP = 3,       /* The slot is out of range, empty, or holds another type. */
    BH_BAD_RIGHTS = 4,    /* The capability lacks a right that the call needs. */
    BH_BAD_ARG = 5,       /* An argument is out of the bounds stated at the call. */
    BH_BUSY = 6,          /* The slot is occupied, the Region mapped, the object bound or in use. */
    BH_NO_MEMORY = 7,     /* The Untyped, page-table pool or vector table is used up. */
    BH_HAS_CHILDREN = 8,  /* The capability has descendants: revoke it first. */
    BH_TOO_DEEP = 9,      /* The derivation tree's depth bound would be exceeded. */
    BH_DIRTY = 10,        /* The memory has not been scrubbed. */
    BH_TIMEOUT = 11,      /* The deadline passed, or a poll found nothing. */
    BH_NOT_READY = 12,    /* The object lacks something the call needs (a Space, an Event, ...). */
    BH_IO_ERROR = 13,     /* Back ends only: the device failed this request. */
    BH_DISCONNECTED = 14, /* Back ends only: the peer broke the protocol or went away. */
};

_Static_assert(BH_DISCONNECTED == 14, "statuses are append-only");
