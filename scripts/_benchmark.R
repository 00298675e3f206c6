# What the benchmark measures in R: Rscript scripts/_benchmark.R JOB INPUT.json OUTPUT.json
# Jobs: stan (rstan, identical models to the package's, compiled here), brms, first, glm, cox.
# first: brms or rstanarm from nothing to draws, or from brms's compiled model in the file `cache`.
arguments <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages(library(jsonlite))
input <- fromJSON(arguments[2])
clock <- function() proc.time()[["elapsed"]]

distribution <- "
data { int S; int K; int P; int counts[S, K]; matrix[S, P] between; matrix[S, S] within; }
transformed data {
  matrix[K, K] centre = diag_matrix(rep_vector(1, K)) - rep_matrix(1.0 / K, K, K);
}
parameters { vector[K] a; matrix[P, K] u; matrix[S, K] w;
             real<lower=0> tau_between; real<lower=0> tau_within; }
transformed parameters {
  matrix[S, K] watched;
  vector[K] alpha = 1.5 * centre * a;
  { matrix[S, K] eta = rep_matrix(alpha', S)
      + (tau_between * between * u + tau_within * within * w) * centre;
    for (s in 1:S) watched[s] = softmax(eta[s]')'; }
}
model {
  a ~ std_normal(); to_vector(u) ~ std_normal(); to_vector(w) ~ std_normal();
  tau_between ~ normal(0, 0.5); tau_within ~ normal(0, 0.5);
  for (s in 1:S) counts[s] ~ multinomial(watched[s]');
}
"
survival <- "
data { int J; int L; int events[L, J]; matrix[L, J] months; vector[J - 1] gap; vector[J] weight; }
parameters { real reference; real<lower=0> smoothing; real<lower=0> spread;
             vector[J - 1] z; vector[L] u; }
transformed parameters {
  matrix[L, J] watched;
  { vector[J] walk; vector[J] baseline;
    walk[1] = 0;
    for (j in 2:J) walk[j] = walk[j - 1] + smoothing * gap[j - 1] * z[j - 1];
    baseline = walk - dot_product(weight, walk);
    for (l in 1:L) watched[l] = (reference + baseline + spread * (u[l] - mean(u)))'; }
}
model {
  reference ~ normal(-4, 1); smoothing ~ normal(0, 1); spread ~ normal(0, 0.5);
  z ~ std_normal(); u ~ std_normal();
  for (l in 1:L) for (j in 1:J) if (months[l, j] > 0)
    events[l, j] ~ poisson(months[l, j] * exp(watched[l, j]));
}
"

centring <- function(n) diag(n) - 1 / n

stan_data <- function(name, d) {
  if (name == "survival") return(c(d[c("J", "L", "events", "months", "gap", "weight")]))
  parent <- d$parent; known <- unique(parent)
  member <- outer(parent, known, "==") + 0; same <- outer(parent, parent, "==") + 0
  list(S = nrow(d$counts), K = ncol(d$counts), P = length(known), counts = d$counts,
       between = member %*% centring(length(known)),
       within = diag(length(parent)) - same / rowSums(same))
}

report <- function(draws, compile, sample, divergent, how) {
  ess <- apply(draws, 3, posterior::ess_bulk)
  list(seconds_compile = compile, seconds_sample = sample, ess = min(ess, na.rm = TRUE),
       divergences = divergent, means = as.numeric(apply(draws, 3, mean)[1:3]), note = how)
}

jobs <- list(
  stan = function(d) {
    suppressPackageStartupMessages(library(rstan))
    start <- clock()
    model <- stan_model(model_code = if (d$design == "survival") survival else distribution,
                        boost_lib = "/usr/include")   # where Debian keeps the headers of BH
    compiled <- clock() - start
    start <- clock()
    fit <- sampling(model, data = stan_data(d$design, d$plain), chains = 4, warmup = d$tune,
                    iter = d$tune + d$draws, seed = 20230221, cores = 2, refresh = 0,
                    control = list(adapt_delta = d$target_accept))
    report(as.array(fit, pars = "watched"), compiled, clock() - start,
           get_num_divergent(fit), paste("rstan", packageVersion("rstan")))
  },
  brms = function(d) {
    suppressPackageStartupMessages(library(brms))
    frame <- data.frame(y = d$plain$y, n = d$plain$n, g = factor(seq_along(d$plain$y)))
    priors <- c(prior(normal(0, 2), class = "Intercept"), prior(normal(0, 1), class = "sd"))
    start <- clock()
    empty <- brm(y | trials(n) ~ 1 + (1 | g), frame, binomial, priors, chains = 0,
                 stan_model_args = list(boost_lib = "/usr/include"))
    compiled <- clock() - start
    start <- clock()
    fit <- update(empty, recompile = FALSE, chains = 4, warmup = d$tune, iter = d$tune + d$draws,
                  seed = 20230221, cores = 2, refresh = 0,
                  control = list(adapt_delta = d$target_accept))
    sampled <- clock() - start
    draws <- posterior::as_draws_array(fit)
    level <- draws[, , "b_Intercept"]
    names <- sprintf("r_g[%d,Intercept]", seq_along(d$plain$y))
    rates <- plogis(unclass(draws[, , names]) + as.numeric(level))
    report(rates, compiled, sampled, sum(nuts_params(fit)$Value[nuts_params(fit)$Parameter ==
           "divergent__"]), paste("brms", packageVersion("brms")))
  },
  first = function(d) {
    suppressPackageStartupMessages(library(d$package, character.only = TRUE))
    p <- d$plain; start <- clock()
    if (d$design == "her2_distribution") {
      frame <- data.frame(g = factor(seq_len(nrow(p$counts))), n = rowSums(p$counts))
      frame$y <- p$counts
      parts <- list(y | trials(n) ~ 1 + (1 | g), frame, "multinomial")
    } else {
      frame <- expand.grid(g = factor(seq_len(p$L)), j = factor(seq_len(p$J)))
      frame$events <- as.vector(p$events); frame$log_months <- log(as.vector(p$months))
      frame <- frame[is.finite(frame$log_months), ]
      parts <- list(events ~ 1 + (1 | g) + (1 | j) + offset(log_months), frame, "poisson")
    }
    run <- list(chains = 4, warmup = d$tune, iter = d$tune + d$draws, seed = 20230221, cores = 1,
                refresh = 0)
    if (d$package == "rstanarm") {
      fit <- do.call(stan_glmer, c(list(parts[[1]], data = frame, family = parts[[3]],
                                        adapt_delta = d$target_accept), run))
      compiled <- 0; draws <- as.array(fit)
    } else {
      if (file.exists(d$cache)) empty <- readRDS(d$cache) else {
        empty <- brm(parts[[1]], parts[[2]], parts[[3]], chains = 0,
                     stan_model_args = list(boost_lib = "/usr/include"))
        saveRDS(empty, d$cache)
      }
      compiled <- clock() - start
      fit <- do.call(update, c(list(empty, recompile = FALSE,
                                    control = list(adapt_delta = d$target_accept)), run))
      draws <- unclass(posterior::as_draws_array(fit))
    }
    report(draws, compiled, clock() - start - compiled, NA,
           paste(d$package, packageVersion(d$package), "nearest model: exchangeable intercepts"))
  },
  glm = function(d) {
    suppressPackageStartupMessages(library(survival))
    rows <- read.csv(d$file)
    start <- clock()
    long <- survSplit(Surv(months, event) ~ ., rows, cut = d$cuts, episode = "interval")
    long$spent <- long$months - long$tstart
    glm(event ~ her2 + factor(interval) + offset(log(spent)), poisson, long)
    list(seconds = clock() - start, note = "survSplit and glm; reading not counted")
  },
  cox = function(d) {
    suppressPackageStartupMessages(library(survival))
    rows <- read.csv(d$file)
    start <- clock()
    coxph(Surv(months, event) ~ her2, rows)
    list(seconds = clock() - start, note = "coxph; reading not counted")
  }
)
answer <- jobs[[arguments[1]]](input)
peak <- grep("VmHWM", readLines("/proc/self/status"), value = TRUE)
answer$peak_mb <- round(as.numeric(gsub("[^0-9]", "", peak)) / 1024)
write_json(answer, arguments[3], auto_unbox = TRUE, digits = 8)
