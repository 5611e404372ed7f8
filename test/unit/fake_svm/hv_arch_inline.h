/* The functions that hv/x86 has inline are processor.c's here. */
#pragma once
