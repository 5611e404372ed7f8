/* What start.S and kernel.c both know. */
#pragma once

#define SELECTOR_CODE_64 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_CODE_32 0x18
#define STACK_BYTES 0x4000
#define CPUS_MAX 16
#define STUB_BYTES 16
/* Double fault, #TS, #NP, #SS, #GP, #PF, #AC, #CP: SDM 3A, table 6-1. */
#define VECTORS_WITH_ERROR_CODE 0x227d00
#define STARTUP_PAGE 0x8000      /* below 1 MiB, behind what the loader puts there */
#define HIGH_ALIAS 0x10000000000 /* 1 TiB: the first 4 GiB again, where only 64-bit code can be */
