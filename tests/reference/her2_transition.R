# Reference posterior of bayes/her2_transition.py by Stan, written independently of the package: each
# level of a factor has its own normal deviation, no contrasts, no common centre; rows are multinomial
# given their totals. R 4.2, rstan 2.21.7, posterior. Run from the repository:
# Rscript tests/reference/her2_transition.R
# Writes tests/reference/her2_transition.json (data, mean, sd, 2.5 and 97.5 % quantiles, MCSE).
suppressPackageStartupMessages({library(rstan); library(posterior); library(jsonlite)})

program <- "
data {
  int S; int F; int L;                 // strata, factors, levels of all factors together
  int counts[S, 3, 3];
  matrix[S, L] member;                 // 1 where the stratum has the level
  int factor_of[L];
}
parameters {
  matrix[3, 2] mu;                     // log odds of the two other classes, in their order
  matrix[3, 2] z[L];
  vector<lower=0>[F] spread;
}
transformed parameters {
  simplex[3] transition[S, 3];
  for (s in 1:S) for (i in 1:3) {
    vector[3] eta = rep_vector(0, 3);
    int place = 1;
    for (j in 1:3) if (j != i) {
      eta[j] = mu[i, place];
      for (l in 1:L) eta[j] += member[s, l] * spread[factor_of[l]] * z[l][i, place];
      place += 1;
    }
    transition[s, i] = softmax(eta);
  }
}
model {
  to_vector(mu) ~ normal(-1.5, 1);
  for (l in 1:L) to_vector(z[l]) ~ std_normal();
  spread ~ normal(0, 0.5);
  for (s in 1:S) for (i in 1:3) counts[s, i] ~ multinomial(transition[s, i]);
}
"

run <- function(model, tables, levels) {
  factors <- names(levels)
  known <- unlist(lapply(factors, function(f) paste(f, unique(levels[[f]]))))
  factor_of <- unlist(lapply(seq_along(factors), function(f) rep(f, length(unique(levels[[f]])))))
  member <- sapply(known, function(l)
    Reduce(`|`, lapply(factors, function(f) paste(f, levels[[f]]) == l)) + 0)
  data <- list(S = dim(tables)[1], F = length(factors), L = length(known), counts = tables,
               member = member, factor_of = as.array(factor_of))
  fit <- sampling(model, data = data, chains = 4, iter = 41000, warmup = 1000, seed = 1, cores = 1,
                  refresh = 0, control = list(adapt_delta = 0.99))
  stopifnot(get_num_divergent(fit) == 0)
  draws <- as_draws_array(fit)
  names <- grep("^(transition|spread)\\[", variables(draws), value = TRUE)
  rows <- lapply(names, function(v) {
    x <- extract_variable_matrix(draws, v)
    list(name = v, mean = mean(x), sd = sd(x), lower = quantile(x, 0.025, names = FALSE),
         upper = quantile(x, 0.975, names = FALSE), mcse_mean = mcse_mean(x), mcse_sd = mcse_sd(x),
         mcse_lower = mcse_quantile(x, 0.025, names = FALSE),
         mcse_upper = mcse_quantile(x, 0.975, names = FALSE), rhat = rhat(x))
  })
  list(tables = tables, levels = levels, posterior = rows)
}

stack <- function(...) aperm(simplify2array(list(...)), c(3, 1, 2))
rows <- function(...) matrix(c(...), 3, byrow = TRUE)

# MSK 2018, exact pairs: HR positive primaries, and all others (571 pairs less these)
hr_status <- stack(rows(103, 43, 3, 100, 149, 12, 6, 16, 50), rows(21, 5, 0, 16, 13, 1, 1, 3, 29))
# made up: two crossed factors, an empty row, zero cells
crossed <- stack(rows(20, 8, 1, 10, 30, 2, 0, 3, 12), rows(9, 1, 0, 6, 4, 1, 0, 0, 0),
                 rows(31, 2, 2, 5, 25, 5, 2, 2, 20), rows(4, 3, 0, 1, 9, 0, 1, 1, 4))

# boost_lib: where Debian keeps the headers of package BH
model <- stan_model(model_code = program, boost_lib = "/usr/include")
result <- list(
  hr_status = run(model, hr_status, list(hr_status = c("positive", "negative"))),
  crossed = run(model, crossed, list(hr_status = c("positive", "negative", "positive", "negative"),
                                     site = c("bone", "bone", "liver", "liver")))
)
result$call <- "Rscript tests/reference/her2_transition.R"
result$versions <- sprintf("%s, rstan %s, posterior %s", R.version.string,
                           packageVersion("rstan"), packageVersion("posterior"))
write_json(result, "tests/reference/her2_transition.json", auto_unbox = TRUE, digits = 8,
           pretty = TRUE)
