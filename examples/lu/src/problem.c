/* The LU problem: classes with their published reference values, exact solution, initial guess. */
#include "problem.h"

#include <stddef.h>

const double DIFFUSION[3] = {0.75, 0.75, 1.0};

static const ProblemClass CLASSES[] = {
    {'S', 12, 50, 0.5,
     {{1.6196343210976702e-02, 2.1976745164821318e-03, 1.5179927653399185e-03,
       1.5029584435994323e-03, 3.4264073155896461e-02},
      {6.4223319957960924e-04, 8.4144342047347926e-05, 5.8588269616485186e-05,
       5.8474222595157350e-05, 1.3103347914111294e-03},
      7.8418928865937083e+00}},
    {'W', 33, 300, 1.5e-3,
     {{0.1236511638192e+02, 0.1317228477799e+01, 0.2550120713095e+01,
       0.2326187750252e+01, 0.2826799444189e+02},
      {0.4867877144216e+00, 0.5064652880982e-01, 0.9281818101960e-01,
       0.8570126542733e-01, 0.1084277417792e+01},
      0.1161399311023e+02}},
    {'A', 64, 250, 2.0,
     {{7.7902107606689367e+02, 6.3402765259692870e+01, 1.9499249727292479e+02,
       1.7845301160418537e+02, 1.8384760349464247e+03},
      {2.9964085685471943e+01, 2.8194576365003349e+00, 7.3473412698774742e+00,
       6.7139225687777051e+00, 7.0715315688392578e+01},
      2.6030925604886277e+01}},
    {'B', 102, 250, 2.0,
     {{3.5532672969982736e+03, 2.6214750795310692e+02, 8.8333721850952190e+02,
       7.7812774739425265e+02, 7.3087969592545314e+03},
      {1.1401176380212709e+02, 8.1098963655421574e+00, 2.8480597317698308e+01,
       2.5905394567832939e+01, 2.6054907504857413e+02},
      4.7887162703308227e+01}},
    {'C', 162, 250, 2.0,
     {{1.03766980323537846e+04, 8.92212458801008552e+02, 2.56238814582660871e+03,
       2.19194343857831427e+03, 1.78078057261061185e+04},
      {2.15986399716949279e+02, 1.55789559239863600e+01, 5.41318863077207766e+01,
       4.82262643154045421e+01, 4.55902910043250358e+02},
      6.66404553572181300e+01}},
    {'D', 408, 300, 1.0,
     {{0.4868417937025e+05, 0.4696371050071e+04, 0.1218114549776e+05,
       0.1033801493461e+05, 0.7142398413817e+05},
      {0.3752393004482e+03, 0.3084128893659e+02, 0.9434276905469e+02,
       0.8230686681928e+02, 0.7002620636210e+03},
      0.8334101392503e+02}},
    {'E', 1020, 300, 0.5,
     {{0.2099641687874e+06, 0.2130403143165e+05, 0.5319228789371e+05,
       0.4509761639833e+05, 0.2932360006590e+06},
      {0.4800572578333e+03, 0.4221993400184e+02, 0.1210851906824e+03,
       0.1047888986770e+03, 0.8363028257389e+03},
      0.9512163272273e+02}},
};

enum { CLASS_COUNT = sizeof CLASSES / sizeof CLASSES[0] };

const ProblemClass *class_named(char name)
{
    for (int c = 0; c < CLASS_COUNT; c++)
        if (CLASSES[c].name == name)
            return &CLASSES[c];
    return NULL;
}

const ProblemClass *class_sized(int points, int iterations)
{
    for (int c = 0; c < CLASS_COUNT; c++)
        if (CLASSES[c].points == points && CLASSES[c].iterations == iterations)
            return &CLASSES[c];
    return NULL;
}

/* Per component the coefficients of 1, x, y, z, x^2, y^2, z^2, ... z^4: no cross terms. */
static const double POLYNOMIAL[COMPONENTS][13] = {
    {2.0, 0.0, 0.0, 4.0, 5.0, 3.0, 0.5, 0.02, 0.01, 0.03, 0.5, 0.4, 0.3},
    {1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 0.01, 0.03, 0.02, 0.4, 0.3, 0.5},
    {2.0, 2.0, 0.0, 0.0, 0.0, 2.0, 3.0, 0.04, 0.03, 0.05, 0.3, 0.5, 0.4},
    {2.0, 2.0, 0.0, 0.0, 0.0, 2.0, 3.0, 0.03, 0.05, 0.04, 0.2, 0.1, 0.3},
    {5.0, 4.0, 3.0, 2.0, 0.1, 0.4, 0.3, 0.05, 0.04, 0.03, 0.1, 0.3, 0.2},
};

void exact_solution(double x, double y, double z, double u[COMPONENTS])
{
    for (int m = 0; m < COMPONENTS; m++) {
        const double *c = POLYNOMIAL[m];
        u[m] = c[0]
             + x * (c[1] + x * (c[4] + x * (c[7] + x * c[10])))
             + y * (c[2] + y * (c[5] + y * (c[8] + y * c[11])))
             + z * (c[3] + z * (c[6] + z * (c[9] + z * c[12])));
    }
}

void initial_guess(double x, double y, double z, double u[COMPONENTS])
{
    double west[COMPONENTS], east[COMPONENTS], south[COMPONENTS], north[COMPONENTS];
    double bottom[COMPONENTS], top[COMPONENTS];

    exact_solution(0.0, y, z, west);
    exact_solution(1.0, y, z, east);
    exact_solution(x, 0.0, z, south);
    exact_solution(x, 1.0, z, north);
    exact_solution(x, y, 0.0, bottom);
    exact_solution(x, y, 1.0, top);
    for (int m = 0; m < COMPONENTS; m++) {
        const double p = (1.0 - x) * west[m] + x * east[m];
        const double q = (1.0 - y) * south[m] + y * north[m];
        const double r = (1.0 - z) * bottom[m] + z * top[m];
        /* Products of the interpolated values, not of interpolation operators. */
        u[m] = p + q + r - p * q - q * r - r * p + p * q * r;
    }
}
