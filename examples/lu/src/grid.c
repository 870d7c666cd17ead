/* Decomposition of the grid into pencils, and memory for fields. */
#include "grid.h"

#include <mpi.h>
#include <stdlib.h>

void process_grid(int ranks, int grid[2])
{
    int along_y = 1;
    for (int d = 1; d * d <= ranks; d++)
        if (ranks % d == 0)
            along_y = d;
    grid[X] = ranks / along_y;
    grid[Y] = along_y;
}

/* Cuts a direction into `pieces`; the first ones get a point more when it does not come out even. */
static void cut(Block *block, int direction, int pieces, int piece)
{
    const int points = block->points[direction];
    const int share = points / pieces, more = points % pieces;
    const int count = share + (piece < more);
    const int first = 1 + piece * share + (piece < more ? piece : more);

    block->first[direction] = first;
    block->count[direction] = count;
    /* The wall points 1 and `points` are owned like any other, but are not unknowns. */
    block->begin[direction] = first == 1;
    block->end[direction] = first + count - 1 == points ? count - 1 : count;
}

bool block_create(Block *block, int points, int ranks, int rank)
{
    process_grid(ranks, block->ranks);
    for (int d = X; d <= Z; d++) {
        block->points[d] = points;
        block->spacing[d] = 1.0 / (points - 1);
    }

    const int across = block->ranks[X];
    const int x = rank % across, y = rank / across;
    block->west = x > 0 ? rank - 1 : MPI_PROC_NULL;
    block->east = x < across - 1 ? rank + 1 : MPI_PROC_NULL;
    block->south = y > 0 ? rank - across : MPI_PROC_NULL;
    block->north = y < block->ranks[Y] - 1 ? rank + across : MPI_PROC_NULL;

    cut(block, X, across, x);
    cut(block, Y, block->ranks[Y], y);
    cut(block, Z, 1, 0);

    /* A question about the smallest block, not about ours: every rank must come to the same answer. */
    return points / block->ranks[X] >= SMALLEST_BLOCK && points / block->ranks[Y] >= SMALLEST_BLOCK;
}

bool field_create(Field *field, const Block *block, int components)
{
    field->components = components;
    field->component = block->count[X] + 2 * GHOST;
    field->row = components * field->component;
    field->plane = (block->count[Y] + 2 * GHOST) * field->row;
    /* z is never cut, so nobody fills its ghosts; they are there so that the stencils of `operator.c`
     * may read two points beyond the wall (and multiply them by zero). */
    field->length = (size_t)(block->count[Z] + 2 * GHOST) * (size_t)field->plane;
    field->storage = calloc(field->length, sizeof *field->storage);
    if (field->storage == NULL)
        return false;
    field->origin = field->storage + GHOST * (field->plane + field->row + 1);
    return true;
}

void field_free(Field *field)
{
    free(field->storage);
    field->storage = NULL;
}
