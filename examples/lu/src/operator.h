/* The space operator L: convection, diffusion, viscosity and artificial dissipation. */
#ifndef LU_OPERATOR_H
#define LU_OPERATOR_H

#include "grid.h"

/* Recomputes the derived components of a state at every point of the block, ghosts included. */
void derive(const Block *block, const Field *state);

/* result = L(state) - subtrahend at the interior points; the rest of `result` stays as it is.
 * `subtrahend` may be NULL.  The state's ghosts and derived components must be up to date. */
void apply_operator(const Block *block, const Field *state, const Field *subtrahend,
                    const Field *result);

#endif
