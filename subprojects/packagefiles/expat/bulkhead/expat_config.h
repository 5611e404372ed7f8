/* What expat may use of its surroundings: memory and string functions, nothing else. No XML_DTD:
 * no external subsets, no parameter entities. Entropy only salts a hash table of names whose
 * number the caller bounds, and the files parsed are the host owner's own. */
#ifndef BULKHEAD_EXPAT_CONFIG_H
#define BULKHEAD_EXPAT_CONFIG_H

#define BYTEORDER 1234
#define HAVE_MEMMOVE 1
#define XML_CONTEXT_BYTES 1024
#define XML_NS 1
#define XML_POOR_ENTROPY 1

#endif
