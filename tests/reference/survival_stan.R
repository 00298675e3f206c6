# The hierarchical survival model of models/her2bayes/bayes/survival.py written a second time, in
# Stan, on the veteran data of R's survival package; rows are split by survSplit, not by our code.
# Rscript tests/reference/survival_stan.R > tests/reference/survival_stan.json
# R 4.2.2, survival 3.5-3, rstan 2.21.7, posterior 1.4.0
suppressMessages({library(survival); library(rstan); library(posterior); library(jsonlite)})

program <- "
data {
  int<lower=1> J; int<lower=2> L;
  int<lower=0> events[L, J]; matrix<lower=0>[L, J] months;
  vector[J - 1] gap;      // sqrt(distance of midpoints / longest follow-up)
  vector[J] weight;        // share of the events in each interval
}
parameters {
  real reference_log_hazard; real<lower=0> smoothing; real<lower=0> spread;
  vector[J - 1] z; vector[L] u;
}
transformed parameters {
  vector[J] baseline; vector[L] effect;
  {
    vector[J] walk; walk[1] = 0;
    for (j in 2:J) walk[j] = walk[j - 1] + smoothing * gap[j - 1] * z[j - 1];
    baseline = walk - dot_product(weight, walk);
  }
  effect = spread * (u - mean(u));
}
model {
  reference_log_hazard ~ normal(-4, 1); smoothing ~ normal(0, 1); spread ~ normal(0, 0.5);
  z ~ std_normal(); u ~ std_normal();
  for (l in 1:L) for (j in 1:J) if (months[l, j] > 0)
    events[l, j] ~ poisson(months[l, j] * exp(reference_log_hazard + baseline[j] + effect[l]));
}
generated quantities {
  matrix[L, 2] survival;   // at 3 and 12 months
  for (l in 1:L) for (k in 1:2) {
    survival[l, k] = exp(-dot_product(to_vector(SPENT[k]),
                                      exp(reference_log_hazard + baseline + effect[l])));
  }
}
"
month <- 365.25 / 12
cuts <- c(0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12)
groups <- c("adeno", "large", "smallcell", "squamous")
d <- with(veteran, data.frame(start = 0, time = time / month, event = status,
                              g = factor(celltype, groups)))
edges <- c(0, cuts, max(d$time)); J <- length(edges) - 1
long <- survSplit(Surv(start, time, event) ~ ., d, cut = cuts, start = "from", end = "to",
                  episode = "interval")
events <- with(long, tapply(event, list(g, factor(interval, 1:J)), sum, default = 0))
months <- with(long, tapply(to - from, list(g, factor(interval, 1:J)), sum, default = 0))
middle <- (head(edges, -1) + tail(edges, -1)) / 2
spent <- lapply(c(3, 12), function(t) pmax(pmin(t, tail(edges, -1)) - head(edges, -1), 0))
program <- sub("matrix<lower=0>[L, J] months;",
               "matrix<lower=0>[L, J] months; vector[J] SPENT[2];", program, fixed = TRUE)
model <- stan_model(model_code = program, boost_lib = "/usr/include")  # where Debian keeps BH
fit <- sampling(model, chains = 4, iter = 41000, warmup = 1000, seed = 20230221, cores = 2,
            control = list(adapt_delta = 0.95), refresh = 0,
            data = list(J = J, L = 4, events = events, months = months, SPENT = do.call(rbind, spent),
                        gap = sqrt(diff(middle) / max(edges)),
                        weight = colSums(events) / sum(events)))
wanted <- c("reference_log_hazard", "smoothing", "spread", "effect", "baseline", "survival")
draws <- as_draws_array(as.array(fit, pars = wanted))
s <- summarise_draws(draws, mean, sd, ~quantile(.x, c(0.025, 0.975)), mcse_mean, mcse_sd,
                     ~mcse_quantile(.x, c(0.025, 0.975)), rhat)
names(s)[4:9] <- c("lower", "upper", "mcse_mean", "mcse_sd", "mcse_lower", "mcse_upper")
cat(toJSON(list(call = "Rscript tests/reference/survival_stan.R", r = R.version.string,
                rstan = as.character(packageVersion("rstan")), cuts = cuts, groups = groups,
                events = unname(events), summary = as.data.frame(s)),
           digits = I(10), auto_unbox = TRUE, pretty = 1))
