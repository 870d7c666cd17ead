/* What the numerical kernels share: the state's extra components, and a promise to the compiler. */
#ifndef LU_ROWS_H
#define LU_ROWS_H

#include "problem.h"

/* Besides its five unknowns the state carries, per point, two quantities every formula needs:
 * 1 / u1, and the kinetic energy q = (u2^2 + u3^2 + u4^2) / (2 u1).  See derive(). */
enum { INVERSE_DENSITY = COMPONENTS, KINETIC_ENERGY, STATE_COMPONENTS };

/* "No iteration of the next loop reads what another one writes": the components of a row never
 * overlap, which a compiler cannot see from pointers into one array. */
#if defined(__clang__)
#define INDEPENDENT_ITERATIONS _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#else
#define INDEPENDENT_ITERATIONS
#endif

/* Kernels written once for all directions are fast only when the direction is a constant inside. */
#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

#endif
