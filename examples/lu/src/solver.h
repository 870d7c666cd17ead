/* The whole computation of one rank: set up, iterate, measure the outcome. */
#ifndef LU_SOLVER_H
#define LU_SOLVER_H

#include "exchange.h"
#include "grid.h"
#include "sweep.h"

typedef struct {
    Block block;
    double dt;
    Field state;   /* U, with its derived components */
    Field change;  /* R between iterations, V during one */
    Field forcing; /* H */
    Shapes shapes;
    RowScratch scratch;
} Solver;

/* Memory and messages for `block`; false if there is not enough memory. */
bool solver_create(Solver *solver, const Block *block, double dt);
void solver_free(Solver *solver);

/* Sets U to its start, H to its fixed value and R to R(U). */
void solver_start(Solver *solver);

/* One SSOR iteration: U and R advance by one pseudo-time step. */
void solver_iterate(Solver *solver);

/* The eleven numbers by which a run is verified; the residual is part of the timed work. */
void residual_norms(const Solver *solver, double norms[COMPONENTS]);
void error_norms(const Solver *solver, double norms[COMPONENTS]);
double surface_integral(const Solver *solver);

#endif
