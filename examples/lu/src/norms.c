/* What is measured of a finished run.  Every rank adds up its own points, one reduction finishes. */
#include "rows.h"
#include "solver.h"

#include <math.h>

/* sqrt(sum over all ranks / number of interior points) */
static void root_mean_square(const Block *block, double sums[COMPONENTS], double norms[COMPONENTS])
{
    const double interior = (double)(block->points[X] - 2) * (block->points[Y] - 2)
                          * (block->points[Z] - 2);

    MPI_Allreduce(sums, norms, COMPONENTS, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int m = 0; m < COMPONENTS; m++)
        norms[m] = sqrt(norms[m] / interior);
}

void residual_norms(const Solver *solver, double norms[COMPONENTS])
{
    const Block *const b = &solver->block;
    double sums[COMPONENTS] = {0.0};

    for (int k = b->begin[Z]; k < b->end[Z]; k++)
        for (int j = b->begin[Y]; j < b->end[Y]; j++)
            for (int m = 0; m < COMPONENTS; m++) {
                const double *const r = field_row(&solver->change, j, k) + m * solver->change.component;
                for (int i = b->begin[X]; i < b->end[X]; i++)
                    sums[m] += r[i] * r[i];
            }
    root_mean_square(b, sums, norms);
}

void error_norms(const Solver *solver, double norms[COMPONENTS])
{
    const Block *const b = &solver->block;
    double sums[COMPONENTS] = {0.0}, exact[COMPONENTS];

    for (int k = b->begin[Z]; k < b->end[Z]; k++)
        for (int j = b->begin[Y]; j < b->end[Y]; j++) {
            const double *const u = field_row(&solver->state, j, k);
            for (int i = b->begin[X]; i < b->end[X]; i++) {
                exact_solution(coordinate(b, X, i), coordinate(b, Y, j), coordinate(b, Z, k), exact);
                for (int m = 0; m < COMPONENTS; m++) {
                    const double error = exact[m] - u[m * solver->state.component + i];
                    sums[m] += error * error;
                }
            }
        }
    root_mean_square(b, sums, norms);
}

/* The range of one direction over which the surface is integrated, in global indices; its first and
 * last index are also where the patches normal to the direction lie. */
typedef struct {
    int first, last;
} Patch;

/* Trapezoidal rule: half the weight at the ends, everything times two. */
static double weight(Patch patch, int index)
{
    if (index < patch.first || index > patch.last)
        return 0.0;
    return index == patch.first || index == patch.last ? 1.0 : 2.0;
}

static double on_patch(Patch patch, int index)
{
    return index == patch.first || index == patch.last ? 1.0 : 0.0;
}

double surface_integral(const Solver *solver)
{
    const Block *const b = &solver->block;
    const Field *const state = &solver->state;
    const double *const h = b->spacing;
    /* Not symmetric: the published reference values were computed over exactly these points. */
    const Patch x = {2, b->points[X] - 1}, y = {2, b->points[Y] - 2}, z = {3, b->points[Z] - 1};
    double sum = 0.0, total;

    for (int k = 0; k < b->count[Z]; k++)
        for (int j = 0; j < b->count[Y]; j++) {
            const double *const energy = field_row(state, j, k) + 4 * state->component;
            const double *const kinetic = field_row(state, j, k) + KINETIC_ENERGY * state->component;
            for (int i = 0; i < b->count[X]; i++) {
                const int gi = b->first[X] + i, gj = b->first[Y] + j, gk = b->first[Z] + k;
                const double area = h[X] * h[Y] * weight(x, gi) * weight(y, gj) * on_patch(z, gk)
                                  + h[X] * h[Z] * weight(x, gi) * weight(z, gk) * on_patch(y, gj)
                                  + h[Y] * h[Z] * weight(y, gj) * weight(z, gk) * on_patch(x, gi);
                sum += area * C2 * (energy[i] - kinetic[i]);
            }
        }
    MPI_Allreduce(&sum, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return 0.25 * total;
}
