/* What ranks tell each other: ghost layers of the solution, and edges of the travelling sweeps. */
#ifndef LU_EXCHANGE_H
#define LU_EXCHANGE_H

#include "grid.h"

#include <mpi.h>

/* The shapes of our messages within a field, described once for MPI: no packing by hand. */
typedef struct {
    MPI_Datatype columns; /* GHOST layers normal to x: all owned j and k, the five unknowns */
    MPI_Datatype rows;    /* GHOST layers normal to y */
    MPI_Datatype column;  /* in one plane k: the interior points of one i */
    MPI_Datatype row;     /* in one plane k: the interior points of one j */
} Shapes;

/* Shapes for exchange_ghosts() on fields like `state`, and for the sweeps on fields like `change`. */
void shapes_create(Shapes *shapes, const Block *block, const Field *state, const Field *change);
void shapes_free(Shapes *shapes);

/* Fills the ghost layers of `state` from the four neighbours. */
void exchange_ghosts(const Shapes *shapes, const Block *block, const Field *state);

/* Waits for, or passes on, the edges of plane k.  A sweep of `step` +1 comes from west and south and
 * leaves to east and north; a sweep of -1 goes the other way. */
void receive_edges(const Shapes *shapes, const Block *block, const Field *change, int k, int step);
void send_edges(const Shapes *shapes, const Block *block, const Field *change, int k, int step);

#endif
