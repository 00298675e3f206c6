# Reference posteriors of bayes/response.py and bayes/adverse_events.py by Stan, written
# independently of the package: no partial centring, the mixture's part drawn in generated quantities.
# R 4.2, rstan 2.21.7, posterior. Run from the repository: Rscript tests/reference/response_stan.R
# Writes tests/reference/response_stan.json (data, mean, sd, 2.5 and 97.5 % quantiles, MCSE).
suppressPackageStartupMessages({library(rstan); library(posterior); library(jsonlite)})

exnex <- "
data { int J; int y[J]; int n[J]; real<lower=0, upper=1> weight; }
parameters { real mu; real<lower=0> tau; vector[J] z; vector[J] own; }
model {
  mu ~ normal(0, 2); tau ~ normal(0, 1); z ~ std_normal(); own ~ normal(0, 2);
  for (j in 1:J)
    target += log_mix(weight, binomial_logit_lpmf(y[j] | n[j], mu + tau * z[j]),
                      binomial_logit_lpmf(y[j] | n[j], own[j]));
}
generated quantities {
  vector[J] rate;
  for (j in 1:J) {
    real a = log(weight) + binomial_logit_lpmf(y[j] | n[j], mu + tau * z[j]);
    real b = log1m(weight) + binomial_logit_lpmf(y[j] | n[j], own[j]);
    rate[j] = inv_logit(bernoulli_rng(exp(a - log_sum_exp(a, b))) ? mu + tau * z[j] : own[j]);
  }
}
"

events <- "
data { int E; int B; int system[E]; int any[E]; int severe[E]; int n; }
parameters {
  vector[2] mu; vector<lower=0>[2] tau_system; vector<lower=0>[2] tau_event;
  matrix[B, 2] u; matrix[E, 2] z;
}
transformed parameters {
  matrix[E, 2] logit_rate;
  for (s in 1:2)
    logit_rate[, s] = mu[s] + tau_system[s] * u[system, s] + tau_event[s] * z[, s];
}
model {
  mu ~ normal(-2, 1.5); tau_system ~ normal(0, 1); tau_event ~ normal(0, 1);
  to_vector(u) ~ std_normal(); to_vector(z) ~ std_normal();
  any ~ binomial_logit(n, logit_rate[, 1]);
  severe ~ binomial_logit(any, logit_rate[, 2]);
}
generated quantities {
  vector[E] rate_any = inv_logit(logit_rate[, 1]);
  vector[E] rate_severe = rate_any .* inv_logit(logit_rate[, 2]);
}
"

run <- function(model, data, wanted, iter, delta) {
  fit <- sampling(model, data = data, chains = 4, iter = iter + 1000, warmup = 1000, seed = 1,
                  cores = 1, refresh = 0, control = list(adapt_delta = delta))
  draws <- as_draws_array(fit)
  names <- grep(wanted, variables(draws), value = TRUE)
  rows <- lapply(names, function(v) {
    x <- extract_variable_matrix(draws, v)
    list(name = v, mean = mean(x), sd = sd(x), lower = quantile(x, 0.025, names = FALSE),
         upper = quantile(x, 0.975, names = FALSE), mcse_mean = mcse_mean(x), mcse_sd = mcse_sd(x),
         mcse_lower = mcse_quantile(x, 0.025, names = FALSE),
         mcse_upper = mcse_quantile(x, 0.975, names = FALSE), rhat = rhat(x))
  })
  list(data = data, divergences = get_num_divergent(fit), posterior = rows)
}

# Chugh 2009 (imatinib in sarcomas), as printed by Neuenschwander et al. 2016
chugh <- list(J = 10, y = c(2, 0, 1, 6, 7, 3, 5, 1, 0, 3),
              n = c(15, 13, 12, 28, 29, 29, 26, 5, 2, 20))
# Ni 2025, Results: responders by brain metastases (yes, no) and by prior Trop-2 ADC (yes, no)
brain <- list(J = 2, y = c(2, 21), n = c(11, 53))
trop2 <- list(J = 2, y = c(0, 23), n = c(10, 54))
# Ni 2025, Table 3, in the order of data/published/ni2025/adverse_events.csv
ni <- list(E = 15, B = 9, n = 64,
           system = c(1, 2, 3, 4, 4, 1, 4, 1, 1, 5, 6, 7, 8, 4, 9),
           any = c(46, 25, 20, 20, 19, 17, 11, 8, 8, 6, 4, 3, 2, 1, 1),
           severe = c(2, 0, 2, 6, 2, 2, 5, 0, 0, 0, 0, 1, 0, 1, 0))

# boost_lib: where Debian keeps the headers of package BH
rates <- stan_model(model_code = exnex, boost_lib = "/usr/include")
result <- list(
  chugh_exnex = run(rates, c(chugh, weight = 0.5), "^(rate|tau)", 8000, 0.95),
  chugh_exchangeable = run(rates, c(chugh, weight = 1), "^(rate|tau)", 8000, 0.95),
  brain_exnex = run(rates, c(brain, weight = 0.5), "^(rate|tau)", 12000, 0.99),
  trop2_exnex = run(rates, c(trop2, weight = 0.5), "^(rate|tau)", 12000, 0.99)
)
result$ni_events <- run(stan_model(model_code = events, boost_lib = "/usr/include"), ni,
                        "^(rate_|tau_|mu)", 4000, 0.98)
result$call <- "Rscript tests/reference/response_stan.R"
result$versions <- sprintf("%s, rstan %s, posterior %s", R.version.string,
                           packageVersion("rstan"), packageVersion("posterior"))
write_json(result, "tests/reference/response_stan.json", auto_unbox = TRUE, digits = 8,
           pretty = TRUE)
