# Several studies of one effect: classical pooling by metafor, the Bayesian model by quadrature in R.
# Rscript tests/reference/synthesis.R > tests/reference/synthesis.json
# R 4.2.2, metafor 3.8-1. Data: acute rejection in six trials (Crins et al. 2014, Pediatr Transplant
# 18:839, as in bayesmeta's CrinsEtAl2014) and deaths in six trials of aspirin (Peto 1980).
suppressMessages(library(metafor))
crins <- data.frame(
  a = c(14, 16, 3, 9, 4, 0), n = c(61, 28, 18, 54, 36, 50),
  c = c(15, 19, 8, 29, 11, 3), m = c(20, 28, 12, 54, 36, 34))
peto <- data.frame(
  a = c(49, 44, 27, 102, 85, 246), n = c(615, 758, 317, 832, 810, 2267),
  c = c(67, 64, 32, 126, 52, 219), m = c(624, 771, 309, 850, 406, 2257))

one <- function(d) {
  es <- escalc(measure = "OR", ai = a, n1i = n, ci = c, n2i = m, data = d)
  fit <- function(method, test) {
    r <- rma(yi, vi, data = es, method = method, test = test, control = list(threshold = 1e-14, maxiter = 10000))
    p <- predict(r)
    list(estimate = c(r$b), se = r$se, lower = r$ci.lb, upper = r$ci.ub, tau2 = r$tau2, I2 = r$I2,
         H2 = r$H2, Q = r$QE, Qp = r$QEp, pi_lower = c(p$pi.lb), pi_upper = c(p$pi.ub))
  }
  r <- rma.peto(ai = a, n1i = n, ci = c, n2i = m, data = d)
  list(y = c(es$yi), se = sqrt(c(es$vi)), dl = fit("DL", "z"), reml = fit("REML", "z"),
       reml_hk = fit("REML", "knha"), reml_hk_modified = fit("REML", "adhoc"), ee = fit("EE", "z"),
       egger = {e <- regtest(rma(yi, vi, data = es, method = "REML"), model = "lm", predictor = "sei"); list(t = e$zval, p = e$pval)},
       peto = list(estimate = c(r$b), se = r$se, lower = r$ci.lb, upper = r$ci.ub))
}

# y ~ N(theta, se), theta ~ N(mu, tau), mu ~ N(0, prior), tau ~ half-normal(scale): the posterior of
# mu and of a new theta by integrate() over tau
bayes <- function(y, se, prior, scale) {
  given <- function(tau) {
    v <- se^2 + tau^2; P <- sum(1 / v) + 1 / prior^2; m <- sum(y / v) / P
    ll <- sum(dnorm(y, 0, sqrt(v), log = TRUE)) + m^2 * P / 2 - log(P * prior^2) / 2
    c(ll, m, 1 / P)
  }
  top <- optimize(function(t) given(t)[1] + dnorm(t, 0, scale, log = TRUE), c(0, 5 * scale), maximum = TRUE)$objective
  w <- Vectorize(function(t) exp(given(t)[1] + dnorm(t, 0, scale, log = TRUE) - top))
  int <- function(f) integrate(function(t) sapply(t, f), 0, 8 * scale, rel.tol = 1e-10, subdivisions = 2000)$value
  Z <- int(w)
  cdf <- function(x, new) int(function(t) {g <- given(t); w(t) * pnorm(x, g[2], sqrt(g[3] + new * t^2))}) / Z
  q <- function(p, new) uniroot(function(x) cdf(x, new) - p, c(-20, 20), tol = 1e-10)$root
  qt <- function(p) uniroot(function(x) integrate(w, 0, x, rel.tol = 1e-10)$value / Z - p, c(1e-9, 8 * scale), tol = 1e-10)$root
  theta <- function(i) int(function(t) {g <- given(t); B <- se[i]^2 / (se[i]^2 + t^2); w(t) * (B * g[2] + (1 - B) * y[i])}) / Z
  ps <- c(0.025, 0.5, 0.975)
  list(mu = sapply(ps, q, new = 0), new = sapply(ps, q, new = 1), tau = sapply(ps, qt),
       mu_mean = int(function(t) w(t) * given(t)[2]) / Z, theta_mean = sapply(seq_along(y), theta))
}
num <- function(x) if (is.null(x) || all(is.na(x))) "null" else if (is.list(x)) paste0("{", paste0('"', names(x), '": ', sapply(x, num), collapse = ", "), "}") else if (length(x) > 1) paste0("[", paste(format(x, digits = 10), collapse = ", "), "]") else format(x, digits = 10)
a <- one(crins); b <- one(peto)
a$bayes <- bayes(a$y, a$se, 4, 0.5); b$bayes <- bayes(b$y, b$se, 4, 0.5)
a$bayes_wide <- bayes(a$y, a$se, 1, 1)
cat(num(list(crins = c(list(counts = as.list(crins)), a), peto = c(list(counts = as.list(peto)), b))), "\n")
