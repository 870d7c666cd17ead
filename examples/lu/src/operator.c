/* The space operator L(U).
 *
 * For each direction with spacing h, U+ and U- being the two neighbours along it:
 *
 *     L(U) = - (F(U+) - F(U-)) / (2h)  +  (S(U+) - 2 S(U) + S(U-)) / h^2  -  DISSIPATION * Q(U)
 *
 * F is the convective flux.  S collects everything that is differenced twice: diffusion and, because
 * a viscous flux between two points is itself a difference of point values, viscosity.  With
 * v = momentum / density, n the component normal to the direction, r = 4/3 if m = n, else 1:
 *
 *     F_1 = u_n                                     S_1 = delta u_1
 *     F_m = u_m v_n  (+ C2 (u_5 - q) if m = n)      S_m = delta u_m + KAPPA r v_m
 *     F_5 = (C1 u_5 - C2 q) v_n                     S_5 = delta u_5 + KAPPA ((1 - C1 C5) q / u_1
 *                                                         + v_n^2 / 6 + C1 C5 u_5 / u_1)
 *
 * Q is a fourth difference, one-sided next to the walls. */
#include "operator.h"

#include "rows.h"

#include <string.h>

void derive(const Block *block, const Field *state)
{
    const ptrdiff_t component = state->component;

    for (int k = 0; k < block->count[Z]; k++)
        for (int j = -GHOST; j < block->count[Y] + GHOST; j++) {
            double *const u = field_row(state, j, k);
            double *const inverse = u + INVERSE_DENSITY * component;
            double *const kinetic = u + KINETIC_ENERGY * component;

            INDEPENDENT_ITERATIONS
            for (int i = -GHOST; i < block->count[X] + GHOST; i++) {
                const double u2 = u[component + i], u3 = u[2 * component + i];
                const double u4 = u[3 * component + i];
                inverse[i] = 1.0 / u[i];
                kinetic[i] = 0.5 * (u2 * u2 + u3 * u3 + u4 * u4) * inverse[i];
            }
        }
}

/* Adds one direction's flux differences to the row `r`.  `s` is how far away in memory the neighbours
 * along the direction are: that is all in which x, y and z differ here, besides the component n. */
ALWAYS_INLINE void add_fluxes(const int direction, const Block *block, const Field *state,
                              const double *restrict u, ptrdiff_t s, double *restrict r,
                              ptrdiff_t r_component)
{
    const int n = 1 + direction;
    const double h = block->spacing[direction];
    const double first = 1.0 / (2.0 * h), second = 1.0 / (h * h);
    const double delta = DIFFUSION[direction];
    const int begin = block->begin[X], end = block->end[X];
    const double *const normal = u + n * state->component;
    const double *const energy = u + 4 * state->component;
    const double *const inverse = u + INVERSE_DENSITY * state->component;
    const double *const kinetic = u + KINETIC_ENERGY * state->component;

    INDEPENDENT_ITERATIONS
    for (int i = begin; i < end; i++)
        r[i] += second * delta * (u[i + s] - 2.0 * u[i] + u[i - s])
              - first * (normal[i + s] - normal[i - s]);

    for (int m = 1; m <= 3; m++) {
        const double viscosity = KAPPA * (m == n ? 4.0 / 3.0 : 1.0);
        const double *const um = u + m * state->component;
        double *const rm = r + m * r_component;

        INDEPENDENT_ITERATIONS
        for (int i = begin; i < end; i++) {
            const double vp = um[i + s] * inverse[i + s], vm = um[i - s] * inverse[i - s];
            const double v = um[i] * inverse[i];
            rm[i] += second * (delta * (um[i + s] - 2.0 * um[i] + um[i - s])
                               + viscosity * (vp - 2.0 * v + vm))
                   - first * (vp * normal[i + s] - vm * normal[i - s]);
        }
    }

    double *const rn = r + n * r_component;
    INDEPENDENT_ITERATIONS
    for (int i = begin; i < end; i++)
        rn[i] -= first * C2 * ((energy[i + s] - kinetic[i + s]) - (energy[i - s] - kinetic[i - s]));

    double *const r5 = r + 4 * r_component;
    INDEPENDENT_ITERATIONS
    for (int i = begin; i < end; i++) {
        double flux[3], twice[3]; /* at the neighbours and the point itself: F_5 and S_5 */
        for (int a = 0; a < 3; a++) {
            const ptrdiff_t p = i + (a - 1) * s;
            const double vn = normal[p] * inverse[p];
            flux[a] = (C1 * energy[p] - C2 * kinetic[p]) * vn;
            twice[a] = delta * energy[p]
                     + KAPPA * ((1.0 - C1 * C5) * kinetic[p] * inverse[p] + vn * vn / 6.0
                                + C1 * C5 * energy[p] * inverse[p]);
        }
        r5[i] += second * (twice[2] - 2.0 * twice[1] + twice[0]) - first * (flux[2] - flux[0]);
    }
}

/* The weights of W[s-2] .. W[s+2] in Q at the global index s of a direction with n points.  Wall
 * values W[1] and W[n] are never used. */
static const double *dissipation_weights(int s, int n)
{
    static const double FIRST[] = {0, 0, 5, -4, 1}, SECOND[] = {0, -4, 6, -4, 1};
    static const double INSIDE[] = {1, -4, 6, -4, 1};
    static const double LAST_BUT_ONE[] = {1, -4, 6, -4, 0}, LAST[] = {1, -4, 5, 0, 0};

    return s == 2 ? FIRST : s == 3 ? SECOND : s == n - 2 ? LAST_BUT_ONE : s == n - 1 ? LAST : INSIDE;
}

/* Subtracts the dissipation of one direction at begin <= i < end, where the weights are the same. */
static void dissipate(const double weights[5], const Field *state, const double *restrict u,
                      ptrdiff_t s, double *restrict r, ptrdiff_t r_component, int begin, int end)
{
    const double a = DISSIPATION * weights[0], b = DISSIPATION * weights[1];
    const double c = DISSIPATION * weights[2], d = DISSIPATION * weights[3];
    const double e = DISSIPATION * weights[4];

    for (int m = 0; m < COMPONENTS; m++) {
        const double *const um = u + m * state->component;
        double *const rm = r + m * r_component;
        for (int i = begin; i < end; i++)
            rm[i] -= a * um[i - 2 * s] + b * um[i - s] + c * um[i] + d * um[i + s] + e * um[i + 2 * s];
    }
}

/* Along x the weights change within the row: one call for each stretch of equal weights. */
static void dissipate_along_x(const Block *block, const Field *state, const double *u, double *r,
                              ptrdiff_t r_component)
{
    const int n = block->points[X], first = block->first[X];
    int next;

    for (int i = block->begin[X]; i < block->end[X]; i = next) {
        const double *const weights = dissipation_weights(first + i, n);
        for (next = i + 1; next < block->end[X]; next++)
            if (dissipation_weights(first + next, n) != weights)
                break;
        dissipate(weights, state, u, 1, r, r_component, i, next);
    }
}

void apply_operator(const Block *block, const Field *state, const Field *subtrahend,
                    const Field *result)
{
    const int begin = block->begin[X], end = block->end[X];
    const ptrdiff_t rc = result->component;

    for (int k = block->begin[Z]; k < block->end[Z]; k++) {
        const double *const z_weights = dissipation_weights(block->first[Z] + k, block->points[Z]);
        for (int j = block->begin[Y]; j < block->end[Y]; j++) {
            const double *const y_weights = dissipation_weights(block->first[Y] + j, block->points[Y]);
            const double *const u = field_row(state, j, k);
            double *const r = field_row(result, j, k);

            for (int m = 0; m < COMPONENTS; m++) {
                double *const rm = r + m * rc;
                if (subtrahend == NULL) {
                    memset(rm + begin, 0, (size_t)(end - begin) * sizeof *rm);
                    continue;
                }
                const double *const h = field_row(subtrahend, j, k) + m * subtrahend->component;
                for (int i = begin; i < end; i++)
                    rm[i] = -h[i];
            }
            add_fluxes(X, block, state, u, 1, r, rc);
            add_fluxes(Y, block, state, u, state->row, r, rc);
            add_fluxes(Z, block, state, u, state->plane, r, rc);
            dissipate_along_x(block, state, u, r, rc);
            dissipate(y_weights, state, u, state->row, r, rc, begin, end);
            dissipate(z_weights, state, u, state->plane, r, rc, begin, end);
        }
    }
}
