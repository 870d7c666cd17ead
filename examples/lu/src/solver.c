/* Initial values, forcing, and the SSOR iteration that puts operator and sweeps together. */
#include "solver.h"

#include "operator.h"
#include "rows.h"

#include <string.h>

bool solver_create(Solver *solver, const Block *block, double dt)
{
    memset(solver, 0, sizeof *solver);
    solver->block = *block;
    solver->dt = dt;
    if (!field_create(&solver->state, block, STATE_COMPONENTS)
        || !field_create(&solver->change, block, COMPONENTS)
        || !field_create(&solver->forcing, block, COMPONENTS)
        || !row_scratch_create(&solver->scratch, block)) {
        return false;
    }
    shapes_create(&solver->shapes, block, &solver->state, &solver->change);
    return true;
}

void solver_free(Solver *solver)
{
    shapes_free(&solver->shapes);
    row_scratch_free(&solver->scratch);
    field_free(&solver->forcing);
    field_free(&solver->change);
    field_free(&solver->state);
}

static void store(const Field *state, int i, int j, int k, const double u[COMPONENTS])
{
    double *const row = field_row(state, j, k);
    for (int m = 0; m < COMPONENTS; m++)
        row[m * state->component + i] = u[m];
}

/* The exact solution everywhere, ghosts included: a formula needs no neighbour. */
static void set_exact(Solver *solver)
{
    const Block *const b = &solver->block;
    double u[COMPONENTS];

    for (int k = 0; k < b->count[Z]; k++)
        for (int j = -GHOST; j < b->count[Y] + GHOST; j++)
            for (int i = -GHOST; i < b->count[X] + GHOST; i++) {
                exact_solution(coordinate(b, X, i), coordinate(b, Y, j), coordinate(b, Z, k), u);
                store(&solver->state, i, j, k, u);
            }
    derive(b, &solver->state);
}

/* The walls keep the exact solution for ever; only the interior starts from a guess. */
static void set_interior(Solver *solver)
{
    const Block *const b = &solver->block;
    double u[COMPONENTS];

    for (int k = b->begin[Z]; k < b->end[Z]; k++)
        for (int j = b->begin[Y]; j < b->end[Y]; j++)
            for (int i = b->begin[X]; i < b->end[X]; i++) {
                initial_guess(coordinate(b, X, i), coordinate(b, Y, j), coordinate(b, Z, k), u);
                store(&solver->state, i, j, k, u);
            }
}

/* R(U) = L(U) - H, after U has changed. */
static void update_residual(Solver *solver)
{
    exchange_ghosts(&solver->shapes, &solver->block, &solver->state);
    derive(&solver->block, &solver->state);
    apply_operator(&solver->block, &solver->state, &solver->forcing, &solver->change);
}

void solver_start(Solver *solver)
{
    set_exact(solver);
    /* H = L(Ue), so that the exact solution is the one with no residual. */
    apply_operator(&solver->block, &solver->state, NULL, &solver->forcing);
    set_interior(solver);
    /* R = V = 0 on the walls, and nothing left of an earlier run. */
    memset(solver->change.storage, 0, solver->change.length * sizeof(double));
    update_residual(solver);
}

void solver_iterate(Solver *solver)
{
    const Block *const b = &solver->block;
    const Field *const state = &solver->state, *const change = &solver->change;
    const double relaxation = 1.0 / (OMEGA * (2.0 - OMEGA));

    sweep_forward(b, &solver->shapes, solver->dt, state, change, &solver->scratch);
    sweep_backward(b, &solver->shapes, solver->dt, state, change, &solver->scratch);

    for (int k = b->begin[Z]; k < b->end[Z]; k++)
        for (int j = b->begin[Y]; j < b->end[Y]; j++)
            for (int m = 0; m < COMPONENTS; m++) {
                double *const restrict u = field_row(state, j, k) + m * state->component;
                const double *const restrict v = field_row(change, j, k) + m * change->component;
                for (int i = b->begin[X]; i < b->end[X]; i++)
                    u[i] += relaxation * v[i];
            }
    update_residual(solver);
}
