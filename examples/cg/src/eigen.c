#include "eigen.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

bool eigen_create(Eigen *e, const Matrix *matrix)
{
    const size_t rows = (size_t)matrix->rows + 1, extended = rows + (size_t)matrix->others;

    *e = (Eigen){.matrix = matrix};
    e->x = malloc(rows * sizeof(double));
    e->z = malloc(extended * sizeof(double)); /* these two are multiplied */
    e->r = malloc(extended * sizeof(double));
    e->p = malloc(rows * sizeof(double));
    e->q = malloc(rows * sizeof(double));
    e->s = malloc(rows * sizeof(double));
    return e->x && e->z && e->r && e->p && e->q && e->s;
}

void eigen_free(Eigen *e)
{
    free(e->x);
    free(e->z);
    free(e->p);
    free(e->r);
    free(e->q);
    free(e->s);
}

/* Sums over all ranks, in one message: on many ranks that is what a step costs. */
static void add_up(double sums[], int count)
{
    MPI_Allreduce(MPI_IN_PLACE, sums, count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

void eigen_start(Eigen *e)
{
    double square = 0.0;
    for (int i = 0; i < e->matrix->rows; i++) {
        uint64_t mixed = (uint64_t)(e->matrix->first + i) * UINT64_C(0x9E3779B97F4A7C15);
        mixed ^= mixed >> 29;
        e->x[i] = 0.5 + (double)(mixed >> 11) * 0x1p-53; /* positive, as that eigenvector is */
        square += e->x[i] * e->x[i];
    }
    add_up(&square, 1);
    for (int i = 0; i < e->matrix->rows; i++)
        e->x[i] /= sqrt(square);
}

/* A z = x, about: conjugate gradients from zero, in the form of Chronopoulos and Gear (1989), whose
 * steps need one sum over all ranks instead of two.  s is A p without another multiplication. */
static void solve(Eigen *e)
{
    const Matrix *m = e->matrix;
    double alpha = 1.0, before = 0.0;

    for (int i = 0; i < m->rows; i++) {
        e->z[i] = e->p[i] = e->s[i] = 0.0;
        e->r[i] = e->x[i];
    }
    for (int step = 0; step < INNER_STEPS; step++) {
        double sums[2] = {0.0, 0.0};
        multiply(m, e->r, e->q);
        for (int i = 0; i < m->rows; i++) {
            sums[0] += e->r[i] * e->r[i];
            sums[1] += e->r[i] * e->q[i];
        }
        add_up(sums, 2);
        if (sums[0] < 1e-30)
            break; /* the same on every rank */
        const double beta = step > 0 ? sums[0] / before : 0.0;
        alpha = sums[0] / (sums[1] - beta * sums[0] / alpha);
        before = sums[0];
        for (int i = 0; i < m->rows; i++) {
            e->p[i] = e->r[i] + beta * e->p[i];
            e->s[i] = e->q[i] + beta * e->s[i];
            e->z[i] += alpha * e->p[i];
            e->r[i] -= alpha * e->s[i];
        }
    }
}

double eigen_iterate(Eigen *e, double *residual)
{
    const Matrix *m = e->matrix;
    double sums[3] = {0.0, 0.0, 0.0};

    solve(e);
    multiply(m, e->z, e->q);
    for (int i = 0; i < m->rows; i++) {
        const double rest = e->x[i] - e->q[i];
        sums[0] += rest * rest;
        sums[1] += e->z[i] * e->q[i];
        sums[2] += e->z[i] * e->z[i];
    }
    add_up(sums, 3);
    *residual = sqrt(sums[0]);
    for (int i = 0; i < m->rows; i++)
        e->x[i] = e->z[i] / sqrt(sums[2]);
    return sums[1] / sums[2]; /* its error is the square of the vector's */
}
