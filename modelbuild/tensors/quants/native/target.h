// Compile what follows for the instruction set TARGET, whatever the flags say; target_end.h ends it.
#define AS_TEXT(x) #x
#define PRAGMA(x) _Pragma(AS_TEXT(x))
#ifdef __clang__
PRAGMA(clang attribute push(__attribute__((target(TARGET))), apply_to = function))
#else
PRAGMA(GCC push_options)
PRAGMA(GCC target(TARGET))
#endif
