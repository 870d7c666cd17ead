#include "matrix.h"

#include <stdlib.h>

enum { ENTRIES_PER_ROW = 7, TAG_WANTED = 1, TAG_VALUES = 2 };

long long block_start(long long total, int ranks, int rank)
{
    const long long each = total / ranks, more = total % ranks;
    return rank * each + (rank < more ? rank : more);
}

static int owner_of(long long total, int ranks, long long row)
{
    const long long each = total / ranks, more = total % ranks;
    const long long in_longer = more * (each + 1);
    return (int)(row < in_longer ? row / (each + 1) : more + (row - in_longer) / each);
}

static int ascending(const void *a, const void *b)
{
    const long long one = *(const long long *)a, two = *(const long long *)b;
    return (one > two) - (one < two);
}

/* The columns of one row, global numbers, and what stands there; how many. */
static int fill_row(long long row, int edge, long long columns[], double entries[])
{
    const long long n = edge, step[3] = {1, n, n * n};
    const long long at[3] = {row % n, row / n % n, row / (n * n)};
    int count = 0;

    for (int d = 2; d >= 0; d--)
        if (at[d] > 0)
            columns[count] = row - step[d], entries[count++] = -1.0;
    columns[count] = row, entries[count++] = 6.0;
    for (int d = 0; d < 3; d++)
        if (at[d] < n - 1)
            columns[count] = row + step[d], entries[count++] = -1.0;
    return count;
}

/* Who has the values that we lack (`wanted`, ascending), and who lacks ours: each rank tells those it
 * needs something of which rows that is. */
static bool introduce(Matrix *m, const long long *wanted, int ranks)
{
    int *counts = calloc((size_t)ranks, sizeof *counts);
    int *theirs = calloc((size_t)ranks, sizeof *theirs);
    if (counts == NULL || theirs == NULL)
        return false;
    for (int i = 0; i < m->others; i++)
        counts[owner_of(m->total, ranks, wanted[i])]++;
    MPI_Alltoall(counts, 1, MPI_INT, theirs, 1, MPI_INT, MPI_COMM_WORLD);
    for (int rank = 0; rank < ranks; rank++) {
        m->senders += counts[rank] > 0;
        m->receivers += theirs[rank] > 0;
    }
    m->from = calloc((size_t)m->senders + 1, sizeof *m->from);
    m->to = calloc((size_t)m->receivers + 1, sizeof *m->to);
    m->requests = calloc((size_t)(m->senders + m->receivers) + 1, sizeof *m->requests);
    if (m->from == NULL || m->to == NULL || m->requests == NULL)
        return false;

    int senders = 0, receivers = 0, at = 0;
    long long **lists = calloc((size_t)m->receivers + 1, sizeof *lists);
    if (lists == NULL)
        return false;
    for (int rank = 0; rank < ranks; rank++) {
        if (theirs[rank] > 0) {
            Neighbour *to = &m->to[receivers];
            *to = (Neighbour){rank, theirs[rank], malloc(sizeof(int) * (size_t)theirs[rank]),
                              malloc(sizeof(double) * (size_t)theirs[rank])};
            lists[receivers] = malloc(sizeof(long long) * (size_t)theirs[rank]);
            if (to->rows == NULL || to->values == NULL || lists[receivers] == NULL)
                return false;
            MPI_Irecv(lists[receivers], theirs[rank], MPI_LONG_LONG, rank, TAG_WANTED,
                      MPI_COMM_WORLD, &m->requests[receivers]);
            receivers++;
        }
    }
    for (int rank = 0; rank < ranks; rank++) {
        if (counts[rank] > 0) {
            m->from[senders++] = (Neighbour){rank, counts[rank], NULL, NULL};
            MPI_Send(wanted + at, counts[rank], MPI_LONG_LONG, rank, TAG_WANTED, MPI_COMM_WORLD);
            at += counts[rank];
        }
    }
    MPI_Waitall(receivers, m->requests, MPI_STATUSES_IGNORE);
    for (int i = 0; i < receivers; i++) {
        for (int j = 0; j < m->to[i].count; j++)
            m->to[i].rows[j] = (int)(lists[i][j] - m->first);
        free(lists[i]);
    }
    free(lists);
    free(counts);
    free(theirs);
    return true;
}

bool matrix_create(Matrix *m, int edge, int ranks, int rank)
{
    const long long total = (long long)edge * edge * edge;
    const long long first = block_start(total, ranks, rank);
    const int rows = (int)(block_start(total, ranks, rank + 1) - first);
    const size_t most = (size_t)rows * ENTRIES_PER_ROW;

    *m = (Matrix){.first = first, .total = total, .rows = rows};
    m->starts = malloc(sizeof *m->starts * ((size_t)rows + 1));
    m->columns = malloc(sizeof *m->columns * (most + 1));
    m->entries = malloc(sizeof *m->entries * (most + 1));
    long long *global = malloc(sizeof *global * (most + 1));
    long long *wanted = malloc(sizeof *wanted * (most + 1));
    if (!m->starts || !m->columns || !m->entries || !global || !wanted)
        return false;

    int count = 0, foreign = 0;
    for (int row = 0; row < rows; row++) {
        m->starts[row] = count;
        count += fill_row(first + row, edge, global + count, m->entries + count);
    }
    m->starts[rows] = count;
    for (int i = 0; i < count; i++)
        if (global[i] < first || global[i] >= first + rows)
            wanted[foreign++] = global[i];
    qsort(wanted, (size_t)foreign, sizeof *wanted, ascending);
    for (int i = 0; i < foreign; i++)
        if (i == 0 || wanted[i] != wanted[i - 1])
            wanted[m->others++] = wanted[i];
    for (int i = 0; i < count; i++) {
        if (global[i] >= first && global[i] < first + rows) {
            m->columns[i] = (int)(global[i] - first);
        } else {
            const long long *found =
                bsearch(&global[i], wanted, (size_t)m->others, sizeof *wanted, ascending);
            m->columns[i] = rows + (int)(found - wanted);
        }
    }
    free(global);
    const bool good = introduce(m, wanted, ranks);
    free(wanted);
    return good;
}

void matrix_free(Matrix *m)
{
    for (int i = 0; i < m->receivers; i++) {
        free(m->to[i].rows);
        free(m->to[i].values);
    }
    free(m->starts);
    free(m->columns);
    free(m->entries);
    free(m->from);
    free(m->to);
    free(m->requests);
}

void multiply(const Matrix *m, double *x, double *y)
{
    double *place = x + m->rows;
    int pending = 0;

    for (int i = 0; i < m->senders; i++) {
        MPI_Irecv(place, m->from[i].count, MPI_DOUBLE, m->from[i].rank, TAG_VALUES, MPI_COMM_WORLD,
                  &m->requests[pending++]);
        place += m->from[i].count;
    }
    for (int i = 0; i < m->receivers; i++) {
        const Neighbour *to = &m->to[i];
        for (int j = 0; j < to->count; j++)
            to->values[j] = x[to->rows[j]];
        MPI_Isend(to->values, to->count, MPI_DOUBLE, to->rank, TAG_VALUES, MPI_COMM_WORLD,
                  &m->requests[pending++]);
    }
    MPI_Waitall(pending, m->requests, MPI_STATUSES_IGNORE);
    for (int row = 0; row < m->rows; row++) {
        double sum = 0.0;
        for (int i = m->starts[row]; i < m->starts[row + 1]; i++)
            sum += m->entries[i] * x[m->columns[i]];
        y[row] = sum;
    }
}
