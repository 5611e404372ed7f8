/* What Frama-C 25 does not know of C11: a compiler has checked these already. */
#define _Static_assert(condition, text) struct static_assertion
#define _Alignas(bytes)
