/* The two triangular solves of SSOR.
 *
 * With A_d the Jacobian of the convective flux, N_d the viscous one and h the spacing of direction d,
 * the implicit operator has at every point a 5x5 diagonal block and one block per neighbour:
 *
 *     D    = I + 2 dt sum_d (N_d + delta_d I) / h^2
 *     Lo_d = - dt A_d / (2h) - dt (N_d + delta_d I) / h^2     towards the neighbour below
 *     Up_d = + dt A_d / (2h) - dt (N_d + delta_d I) / h^2     towards the neighbour above
 *
 *     forward    V <- D^-1 (dt R - OMEGA sum_d Lo_d V_below)      in increasing i, j, k
 *     backward   V <- V - D^-1 OMEGA sum_d Up_d V_above           in decreasing i, j, k
 *
 * Lo and Up are evaluated at the neighbour's state, D at the point's own.  No block is ever stored:
 * a product with A_d and N_d costs less than forming them.
 *
 * A row is solved in two passes.  The first does all that does not depend on the row itself (the
 * couplings to y and z, the entries of D) and is a vector loop; the second runs along x, where every
 * point waits for the one before it. */
#include "sweep.h"

#include "rows.h"

#include <stdlib.h>

/* The rows of the scratch memory.  D is lower triangular, with entries in column 1, row 5 and on the
 * diagonal only; stored are the entries below the diagonal and the inverses of those on it. */
enum {
    COUPLING, /* five rows: the sum of the blocks towards y and z, times V there */
    D21 = COUPLING + COMPONENTS, D31, D41, D51, D52, D53, D54,
    INVERSE2, INVERSE3, INVERSE4, INVERSE5,
    SCRATCH_ROWS
};

bool row_scratch_create(RowScratch *scratch, const Block *block)
{
    scratch->width = block->count[X];
    scratch->storage = calloc((size_t)SCRATCH_ROWS * (size_t)scratch->width, sizeof(double));
    return scratch->storage != NULL;
}

void row_scratch_free(RowScratch *scratch)
{
    free(scratch->storage);
    scratch->storage = NULL;
}

/* The numbers of Lo_d or Up_d that are the same everywhere. */
typedef struct {
    double convection; /* factor of A_d: -+ dt / (2h) */
    double diffusion;  /* factor of N_d + delta_d I: - dt / h^2 */
    double delta;
} Coupling;

static Coupling coupling_to(const Block *block, int direction, double dt, int step)
{
    const double h = block->spacing[direction];
    return (Coupling){-step * dt / (2.0 * h), -dt / (h * h), DIFFUSION[direction]};
}

/* out += Lo_d v or Up_d v, for the state u at the point of v. */
ALWAYS_INLINE void add_block_product(const int direction, const Coupling *by, const double *restrict u,
                                     ptrdiff_t component, const double v[COMPONENTS],
                                     double out[COMPONENTS])
{
    const int n = 1 + direction;
    const double inverse = u[INVERSE_DENSITY * component], q = u[KINETIC_ENERGY * component];
    const double u5 = u[4 * component];
    const double velocity[] = {0.0, u[component] * inverse, u[2 * component] * inverse,
                               u[3 * component] * inverse};
    const double w = velocity[n], v1 = v[0] * inverse;

    /* A_d v */
    const double s = velocity[1] * v[1] + velocity[2] * v[2] + velocity[3] * v[3];
    double convected[COMPONENTS];
    convected[0] = v[n];
    for (int m = 1; m <= 3; m++)
        convected[m] = velocity[m] * (v[n] - w * v[0]) + w * v[m]
                     + (m == n ? C2 * (q * v1 - s + v[4]) : 0.0);
    convected[4] = (2.0 * C2 * q - C1 * u5) * w * v1 - C2 * w * s
                 + (C1 * u5 - C2 * q) * inverse * v[n] + C1 * w * v[4];

    /* (N_d + delta I) v */
    double diffused[COMPONENTS];
    diffused[0] = by->delta * v[0];
    diffused[4] = by->delta * v[4] + KAPPA5 * (v[4] - u5 * v1) * inverse;
    for (int m = 1; m <= 3; m++) {
        const double viscosity = KAPPA * (m == n ? 4.0 / 3.0 : 1.0);
        const double g = (v[m] - velocity[m] * v[0]) * inverse;
        diffused[m] = by->delta * v[m] + viscosity * g;
        diffused[4] += (viscosity - KAPPA5) * velocity[m] * g;
    }

    for (int m = 0; m < COMPONENTS; m++)
        out[m] += by->convection * convected[m] + by->diffusion * diffused[m];
}

/* First pass: the coupling of a whole row to its neighbour row along y or z. */
ALWAYS_INLINE void add_coupling(const int direction, const Coupling *by, const Block *block,
                                const Field *state, const double *restrict u, const Field *change,
                                const double *restrict v, const RowScratch *scratch)
{
    const int begin = block->begin[X], end = block->end[X];
    const ptrdiff_t uc = state->component, vc = change->component, width = scratch->width;
    double *const restrict sum = scratch->storage + COUPLING * width;
    const Coupling constants = *by;

    INDEPENDENT_ITERATIONS
    for (int i = begin; i < end; i++) {
        const double neighbour[] = {v[i], v[vc + i], v[2 * vc + i], v[3 * vc + i], v[4 * vc + i]};
        double product[COMPONENTS] = {0.0};

        add_block_product(direction, &constants, u + i, uc, neighbour, product);
        sum[i] += product[0];
        sum[width + i] += product[1];
        sum[2 * width + i] += product[2];
        sum[3 * width + i] += product[3];
        sum[4 * width + i] += product[4];
    }
}

/* First pass: D along a row.  D_m1 = -v_m (D_mm - D_11) and so on: each N_d is a multiple of 1 / u1. */
static void prepare_diagonal(const Block *block, double dt, const Field *state,
                             const double *restrict u, double d11, const RowScratch *scratch)
{
    const ptrdiff_t uc = state->component, width = scratch->width;
    double *const restrict d = scratch->storage;
    double a[4] = {0.0}, b = 0.0; /* D_mm = D_11 + a[m] / u1, D_55 = D_11 + b / u1 */

    for (int direction = X; direction <= Z; direction++) {
        const double h = block->spacing[direction], factor = 2.0 * dt / (h * h);
        for (int m = 1; m <= 3; m++)
            a[m] += factor * KAPPA * (m == 1 + direction ? 4.0 / 3.0 : 1.0);
        b += factor * KAPPA5;
    }

    const double a2 = a[1], a3 = a[2], a4 = a[3];
    INDEPENDENT_ITERATIONS
    for (int i = block->begin[X]; i < block->end[X]; i++) {
        const double inverse = u[INVERSE_DENSITY * uc + i];
        const double v2 = u[uc + i] * inverse, v3 = u[2 * uc + i] * inverse;
        const double v4 = u[3 * uc + i] * inverse;
        const double d52 = (a2 - b) * v2 * inverse, d53 = (a3 - b) * v3 * inverse;
        const double d54 = (a4 - b) * v4 * inverse;

        d[D21 * width + i] = -a2 * v2 * inverse;
        d[D31 * width + i] = -a3 * v3 * inverse;
        d[D41 * width + i] = -a4 * v4 * inverse;
        d[D51 * width + i] = -(d52 * v2 + d53 * v3 + d54 * v4 + b * u[4 * uc + i] * inverse * inverse);
        d[D52 * width + i] = d52;
        d[D53 * width + i] = d53;
        d[D54 * width + i] = d54;
        d[INVERSE2 * width + i] = 1.0 / (d11 + a2 * inverse);
        d[INVERSE3 * width + i] = 1.0 / (d11 + a3 * inverse);
        d[INVERSE4 * width + i] = 1.0 / (d11 + a4 * inverse);
        d[INVERSE5 * width + i] = 1.0 / (d11 + b * inverse);
    }
}

/* Second pass: along the row, each point after its neighbour i - step.
 *
 * Both sweeps are V <- keep V + D^-1 (scale V - OMEGA couplings): forward with keep = 0 and
 * scale = dt, since V still holds R there; backward with keep = 1 and scale = 0. */
ALWAYS_INLINE void solve_row(const int step, const Block *block, double dt, const Coupling *along_x,
                             const Field *state, const double *restrict u, const Field *change,
                             double *restrict v, double inverse1, const RowScratch *scratch)
{
    const ptrdiff_t uc = state->component, vc = change->component, width = scratch->width;
    const double *const restrict d = scratch->storage;
    const double keep = step > 0 ? 0.0 : 1.0, scale = step > 0 ? dt : 0.0;
    const int first = step > 0 ? block->begin[X] : block->end[X] - 1;
    const int stop = step > 0 ? block->end[X] : block->begin[X] - 1;
    double last[COMPONENTS]; /* V of the point before, kept in registers */

    for (int m = 0; m < COMPONENTS; m++)
        last[m] = v[m * vc + first - step];

    for (int i = first; i != stop; i += step) {
        double t[COMPONENTS], own[COMPONENTS];

        for (int m = 0; m < COMPONENTS; m++)
            t[m] = d[(COUPLING + m) * width + i];
        add_block_product(X, along_x, u + i - step, uc, last, t);
        for (int m = 0; m < COMPONENTS; m++) {
            own[m] = v[m * vc + i];
            t[m] = scale * own[m] - OMEGA * t[m];
        }

        t[0] *= inverse1;
        t[1] = (t[1] - d[D21 * width + i] * t[0]) * d[INVERSE2 * width + i];
        t[2] = (t[2] - d[D31 * width + i] * t[0]) * d[INVERSE3 * width + i];
        t[3] = (t[3] - d[D41 * width + i] * t[0]) * d[INVERSE4 * width + i];
        t[4] = (t[4] - d[D51 * width + i] * t[0] - d[D52 * width + i] * t[1]
                - d[D53 * width + i] * t[2] - d[D54 * width + i] * t[3]) * d[INVERSE5 * width + i];

        for (int m = 0; m < COMPONENTS; m++)
            v[m * vc + i] = last[m] = keep * own[m] + t[m];
    }
}

ALWAYS_INLINE void sweep(const int step, const Block *block, const Shapes *shapes, double dt,
                         const Field *state, const Field *change, const RowScratch *scratch)
{
    const Coupling along_x = coupling_to(block, X, dt, step);
    const Coupling along_y = coupling_to(block, Y, dt, step);
    const Coupling along_z = coupling_to(block, Z, dt, step);
    const int first_k = step > 0 ? block->begin[Z] : block->end[Z] - 1;
    const int stop_k = step > 0 ? block->end[Z] : block->begin[Z] - 1;
    const int first_j = step > 0 ? block->begin[Y] : block->end[Y] - 1;
    const int stop_j = step > 0 ? block->end[Y] : block->begin[Y] - 1;
    double d11 = 1.0;

    for (int d = X; d <= Z; d++)
        d11 += 2.0 * dt * DIFFUSION[d] / (block->spacing[d] * block->spacing[d]);

    for (int k = first_k; k != stop_k; k += step) {
        receive_edges(shapes, block, change, k, step);
        for (int j = first_j; j != stop_j; j += step) {
            const double *const u = field_row(state, j, k);
            double *const v = field_row(change, j, k);

            for (ptrdiff_t i = 0; i < COMPONENTS * scratch->width; i++)
                scratch->storage[COUPLING * scratch->width + i] = 0.0;
            add_coupling(Y, &along_y, block, state, u - step * state->row, change,
                         v - step * change->row, scratch);
            add_coupling(Z, &along_z, block, state, u - step * state->plane, change,
                         v - step * change->plane, scratch);
            prepare_diagonal(block, dt, state, u, d11, scratch);
            solve_row(step, block, dt, &along_x, state, u, change, v, 1.0 / d11, scratch);
        }
        send_edges(shapes, block, change, k, step);
    }
}

void sweep_forward(const Block *block, const Shapes *shapes, double dt, const Field *state,
                   const Field *change, const RowScratch *scratch)
{
    sweep(+1, block, shapes, dt, state, change, scratch);
}

void sweep_backward(const Block *block, const Shapes *shapes, double dt, const Field *state,
                    const Field *change, const RowScratch *scratch)
{
    sweep(-1, block, shapes, dt, state, change, scratch);
}
