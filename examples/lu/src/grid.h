/* Which part of the grid this rank owns, and how its fields lie in memory. */
#ifndef LU_GRID_H
#define LU_GRID_H

#include "problem.h"

#include <stdbool.h>
#include <stddef.h>

/* The space operator reaches two points in every direction. */
enum { GHOST = 2 };

/* A block narrower than this could not feed its neighbours' ghost layers from its own interior. */
enum { SMALLEST_BLOCK = 3 };

/* A rank's pencil: a piece of x and y, all of z.
 *
 * Local indices start at 0 with the first owned point; first[] turns them into the 1-based global
 * indices of the formulas.  Ghost points are at -GHOST..-1 and count..count+GHOST-1. */
typedef struct {
    int points[3];      /* of the whole grid */
    double spacing[3];  /* 1 / (points - 1) */
    int ranks[2];       /* ranks along x and along y */
    int west, east;     /* neighbours along x; MPI_PROC_NULL at the walls */
    int south, north;   /* neighbours along y */
    int first[3];       /* global index of local index 0 */
    int count[3];       /* points owned */
    int begin[3], end[3]; /* local range of the interior points owned: begin <= i < end */
} Block;

/* A field of the block, ghosts included, stored as [k][j][component][i].  With i innermost every loop
 * along a row is a loop over contiguous numbers, which the compiler turns into vector instructions. */
typedef struct {
    int components;
    ptrdiff_t component, row, plane; /* distance in doubles between neighbours in m, j, k */
    double *origin;                  /* component 0 of point (0, 0, 0) */
    double *storage;
    size_t length;                   /* of storage, in doubles */
} Field;

/* Splits `ranks` into the most nearly square process grid, the longer side along x. */
void process_grid(int ranks, int grid[2]);

/* The block of `rank`; false if some block would be smaller than SMALLEST_BLOCK. */
bool block_create(Block *block, int points, int ranks, int rank);

/* Zeroed memory for a field; false if there is not enough. */
bool field_create(Field *field, const Block *block, int components);
void field_free(Field *field);

/* Component 0 of the row (j, k) at i = 0. */
static inline double *field_row(const Field *field, int j, int k)
{
    return field->origin + k * field->plane + j * field->row;
}

/* A point's coordinate along a direction, also outside the block. */
static inline double coordinate(const Block *block, int direction, int local)
{
    return (block->first[direction] + local - 1) * block->spacing[direction];
}

#endif
