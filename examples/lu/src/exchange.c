/* Messages between ranks.  Neighbours that do not exist are MPI_PROC_NULL: nothing is sent or awaited. */
#include "exchange.h"

/* One tag for each way data can travel, so that no two messages are ever mistaken for each other. */
enum { EASTWARD = 1, WESTWARD, NORTHWARD, SOUTHWARD };

static MPI_Datatype committed(MPI_Datatype type)
{
    MPI_Type_commit(&type);
    return type;
}

/* The five unknowns of planes x rows x columns points, anywhere in a field like `field`. */
static MPI_Datatype box(const Field *field, int planes, int rows, int columns)
{
    const MPI_Aint plane = field->plane * (MPI_Aint)sizeof(double);
    const MPI_Aint row = field->row * (MPI_Aint)sizeof(double);
    MPI_Datatype point_row, plane_part, whole;

    MPI_Type_vector(COMPONENTS, columns, (int)field->component, MPI_DOUBLE, &point_row);
    MPI_Type_create_hvector(rows, 1, row, point_row, &plane_part);
    MPI_Type_create_hvector(planes, 1, plane, plane_part, &whole);
    MPI_Type_free(&point_row);
    MPI_Type_free(&plane_part);
    return committed(whole);
}

void shapes_create(Shapes *shapes, const Block *block, const Field *state, const Field *change)
{
    const int columns = block->end[X] - block->begin[X], rows = block->end[Y] - block->begin[Y];

    shapes->columns = box(state, block->count[Z], block->count[Y], GHOST);
    shapes->rows = box(state, block->count[Z], GHOST, block->count[X]);
    shapes->column = box(change, 1, rows, 1);
    shapes->row = box(change, 1, 1, columns);
}

void shapes_free(Shapes *shapes)
{
    MPI_Type_free(&shapes->columns);
    MPI_Type_free(&shapes->rows);
    MPI_Type_free(&shapes->column);
    MPI_Type_free(&shapes->row);
}

/* Sends the layers starting at `from` to one neighbour, and receives the opposite one's at `into`. */
static void shift(MPI_Datatype shape, double *from, int to_rank, double *into, int from_rank, int tag)
{
    MPI_Sendrecv(from, 1, shape, to_rank, tag, into, 1, shape, from_rank, tag, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
}

void exchange_ghosts(const Shapes *shapes, const Block *block, const Field *state)
{
    const int last_x = block->count[X], last_y = block->count[Y];
    double *const base = state->origin;
    const ptrdiff_t row = state->row;

    shift(shapes->columns, base + last_x - GHOST, block->east, base - GHOST, block->west, EASTWARD);
    shift(shapes->columns, base, block->west, base + last_x, block->east, WESTWARD);
    shift(shapes->rows, base + (last_y - GHOST) * row, block->north, base - GHOST * row, block->south,
          NORTHWARD);
    shift(shapes->rows, base, block->south, base + last_y * row, block->north, SOUTHWARD);
}

/* Where the column i, or the row j, of plane k begins. */
static double *column_at(const Block *block, const Field *change, int i, int k)
{
    return field_row(change, block->begin[Y], k) + i;
}

static double *row_at(const Block *block, const Field *change, int j, int k)
{
    return field_row(change, j, k) + block->begin[X];
}

void receive_edges(const Shapes *shapes, const Block *block, const Field *change, int k, int step)
{
    const int i = step > 0 ? -1 : block->count[X], j = step > 0 ? -1 : block->count[Y];

    MPI_Recv(column_at(block, change, i, k), 1, shapes->column, step > 0 ? block->west : block->east,
             step > 0 ? EASTWARD : WESTWARD, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Recv(row_at(block, change, j, k), 1, shapes->row, step > 0 ? block->south : block->north,
             step > 0 ? NORTHWARD : SOUTHWARD, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

void send_edges(const Shapes *shapes, const Block *block, const Field *change, int k, int step)
{
    const int i = step > 0 ? block->count[X] - 1 : 0, j = step > 0 ? block->count[Y] - 1 : 0;

    /* Plain blocking sends cannot deadlock: a plane waits only for planes nearer the sweep's corner. */
    MPI_Send(column_at(block, change, i, k), 1, shapes->column, step > 0 ? block->east : block->west,
             step > 0 ? EASTWARD : WESTWARD, MPI_COMM_WORLD);
    MPI_Send(row_at(block, change, j, k), 1, shapes->row, step > 0 ? block->north : block->south,
             step > 0 ? NORTHWARD : SOUTHWARD, MPI_COMM_WORLD);
}
