# Reference posterior of bayes/her2_distribution.py by Stan, written independently of the package:
# zero-sum effects are made by projecting independent normals (centring matrices), not by contrasts.
# R 4.2, rstan 2.21.7, posterior. Run from the repository: Rscript tests/reference/her2_distribution.R
# Writes tests/reference/her2_distribution.json (data, mean, sd, 2.5 and 97.5 % quantiles, MCSE).
suppressPackageStartupMessages({library(rstan); library(posterior); library(jsonlite)})

program <- "
data {
  int S; int K; int P;
  int counts[S, K];
  matrix[S, P] between;          // subgroup effects of parents, centred over parents
  matrix[S, S] within;           // effects of levels, centred within their parent
  int learn_between; int learn_within;
  real fixed_tau;
}
transformed data {
  matrix[K, K] centre = diag_matrix(rep_vector(1, K)) - rep_matrix(1.0 / K, K, K);
}
parameters {
  vector[K] a; matrix[P, K] u; matrix[S, K] w;
  real<lower=0> tau_between; real<lower=0> tau_within;
}
transformed parameters {
  matrix[S, K] share;
  vector[K] alpha = 1.5 * centre * a;
  {
    real b = learn_between ? tau_between : fixed_tau;
    real l = learn_within ? tau_within : fixed_tau;
    matrix[S, K] eta = rep_matrix(alpha', S) + (b * between * u + l * within * w) * centre;
    for (s in 1:S) share[s] = softmax(eta[s]')';
  }
}
model {
  a ~ std_normal(); to_vector(u) ~ std_normal(); to_vector(w) ~ std_normal();
  tau_between ~ normal(0, 0.5); tau_within ~ normal(0, 0.5);
  for (s in 1:S) counts[s] ~ multinomial(share[s]');
}
"

centring <- function(n) diag(n) - 1 / n

run <- function(model, counts, parent) {
  S <- nrow(counts); known <- unique(parent); P <- length(known)
  member <- outer(parent, known, "==") + 0
  same <- outer(parent, parent, "==") + 0
  data <- list(S = S, K = ncol(counts), P = P, counts = counts,
               between = member %*% centring(P), within = diag(S) - same / rowSums(same),
               learn_between = as.integer(P > 2), learn_within = as.integer(S - P > 1),
               fixed_tau = 0.75)
  fit <- sampling(model, data = data, chains = 4, iter = 26000, warmup = 1000, seed = 1,
                  cores = 1, refresh = 0, control = list(adapt_delta = 0.99))
  stopifnot(get_num_divergent(fit) == 0)
  draws <- as_draws_array(fit)
  names <- c("tau_between", "tau_within", grep("^(share|alpha)", variables(draws), value = TRUE))
  rows <- lapply(names, function(v) {
    x <- extract_variable_matrix(draws, v)
    list(name = v, mean = mean(x), sd = sd(x), lower = quantile(x, 0.025, names = FALSE),
         upper = quantile(x, 0.975, names = FALSE), mcse_mean = mcse_mean(x), mcse_sd = mcse_sd(x),
         mcse_lower = mcse_quantile(x, 0.025, names = FALSE),
         mcse_upper = mcse_quantile(x, 0.975, names = FALSE), rhat = rhat(x))
  })
  list(counts = counts, parent = parent, posterior = rows)
}

# Shi 2023, Table 1: columns zero, low, positive
relapse_type <- rbind(LRR = c(19, 48, 22), DM = c(22, 42, 28), CBC = c(12, 37, 17))
hr_status <- rbind(positive = c(23, 92, 20), negative = c(30, 35, 47))
site <- rbind(ipsilateral = c(8, 17, 9), chest_wall = c(8, 20, 7), lymph_node = c(3, 11, 6),
              contralateral = c(12, 37, 17), lung = c(6, 11, 4), liver = c(6, 11, 9),
              bone = c(4, 9, 5), others = c(6, 11, 10))
# made up: zero cells and a fourth category
sparse <- rbind(a = c(0, 3, 5, 1), b = c(2, 0, 7, 0), c = c(1, 1, 0, 4), d = c(0, 0, 2, 0))

# boost_lib: where Debian keeps the headers of package BH
model <- stan_model(model_code = program, boost_lib = "/usr/include")
result <- list(
  relapse_type = run(model, relapse_type, rep("", 3)),
  hr_status = run(model, hr_status, rep("", 2)),
  site = run(model, site, c("LRR", "LRR", "LRR", "CBC", "DM", "DM", "DM", "DM")),
  sparse = run(model, sparse, rep("", 4))
)
result$call <- "Rscript tests/reference/her2_distribution.R"
result$versions <- sprintf("%s, rstan %s, posterior %s", R.version.string,
                           packageVersion("rstan"), packageVersion("posterior"))
write_json(result, "tests/reference/her2_distribution.json", auto_unbox = TRUE, digits = 8,
           pretty = TRUE)
