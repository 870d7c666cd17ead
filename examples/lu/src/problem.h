/* The LU problem: its constants, its classes and its exact solution.  Knows nothing of MPI. */
#ifndef LU_PROBLEM_H
#define LU_PROBLEM_H

/* The five unknowns are numbered 0..4: density, the three momenta, energy.  The momentum normal to
 * direction X, Y, Z is therefore 1 + direction. */
enum { X, Y, Z };
enum { COMPONENTS = 5 };

/* Coefficients of the fluxes. */
#define C1 1.4
#define C2 0.4
#define C3 0.1
#define C4 1.0
#define C5 1.4
#define KAPPA (C3 * C4)            /* of the viscous momentum fluxes */
#define KAPPA5 (C1 * C3 * C4 * C5) /* of the viscous energy flux */
#define DISSIPATION 0.25           /* fourth-order artificial dissipation: max(DIFFUSION) / 4 */
#define OMEGA 1.2                  /* over-relaxation */

/* Second-order diffusion along x, y, z; the same for all five components. */
extern const double DIFFUSION[3];

/* What a run computes and is verified with. */
typedef struct {
    double residual[COMPONENTS]; /* RMS of the final residual */
    double error[COMPONENTS];    /* RMS of exact minus computed solution */
    double surface;              /* surface integral of the pressure */
} Outcome;

typedef struct {
    char name; /* 'S' ... 'E', or 'U' for a size that is none of them */
    int points; /* per side */
    int iterations;
    double dt; /* pseudo-time step */
    Outcome reference;
} ProblemClass;

/* The class called `name`; NULL if there is none. */
const ProblemClass *class_named(char name);

/* The class with this size; NULL if there is none. */
const ProblemClass *class_sized(int points, int iterations);

/* Ue(x, y, z), the steady state that the iteration approaches. */
void exact_solution(double x, double y, double z, double u[COMPONENTS]);

/* The start at an interior point: blends the exact values on the six faces. */
void initial_guess(double x, double y, double z, double u[COMPONENTS]);

#endif
