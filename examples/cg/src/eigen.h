/* Inverse iteration for the smallest eigenvalue, with conjugate gradients inside. */
#ifndef CG_EIGEN_H
#define CG_EIGEN_H

#include "matrix.h"

enum { INNER_STEPS = 25 };

typedef struct {
    const Matrix *matrix;
    double *x, *z, *r, *p, *q, *s;
} Eigen;

bool eigen_create(Eigen *eigen, const Matrix *matrix);
void eigen_free(Eigen *eigen);

/* Begin anew, with numbers that depend on the row alone: the same for every number of ranks. */
void eigen_start(Eigen *eigen);

/* One iteration: the eigenvalue as it is known now; the norm of x - A z goes to `residual`. */
double eigen_iterate(Eigen *eigen, double *residual);

#endif
