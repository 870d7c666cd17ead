/* A block of rows of a sparse matrix, and the multiplication that asks other ranks for what it lacks. */
#ifndef CG_MATRIX_H
#define CG_MATRIX_H

#include <mpi.h>
#include <stdbool.h>

typedef struct {
    int rank;
    int count; /* of values */
    int *rows; /* sent: which of ours; received: NULL, they have a place of their own */
    double *values;
} Neighbour;

typedef struct {
    long long first, total; /* the first row of ours; all rows there are */
    int rows;
    int *starts;     /* rows + 1 places in the next two */
    int *columns;    /* of the extended vector: our values, then those received */
    double *entries;
    int senders, receivers;
    Neighbour *from, *to;
    int others; /* values of other ranks that we need */
    MPI_Request *requests;
} Matrix;

/* The seven-point Laplacian on edge^3 points, our block of it; false if memory is lacking. */
bool matrix_create(Matrix *matrix, int edge, int ranks, int rank);
void matrix_free(Matrix *matrix);

/* The first row of a rank's block: blocks differ by one row at most. */
long long block_start(long long total, int ranks, int rank);

/* y = A x. x has room for rows + others values; the others are filled in. */
void multiply(const Matrix *matrix, double *x, double *y);

#endif
