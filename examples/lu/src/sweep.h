/* One pass of the SSOR relaxation over the grid, a wave that travels from rank to rank. */
#ifndef LU_SWEEP_H
#define LU_SWEEP_H

#include "exchange.h"
#include "grid.h"

/* What a sweep keeps of one row while it works on it; see sweep.c. */
typedef struct {
    double *storage;
    ptrdiff_t width;
} RowScratch;

bool row_scratch_create(RowScratch *scratch, const Block *block);
void row_scratch_free(RowScratch *scratch);

/* Forward sweep: turns `change` from the residual R into V.  Backward: finishes V. */
void sweep_forward(const Block *block, const Shapes *shapes, double dt, const Field *state,
                   const Field *change, const RowScratch *scratch);
void sweep_backward(const Block *block, const Shapes *shapes, double dt, const Field *state,
                    const Field *change, const RowScratch *scratch);

#endif
