# Classical survival of few patients by R, for the property test tests/classical/test_few_events.py.
# Rscript tests/reference/few_events.R > tests/reference/few_events.json
# R 4.2.2, survival 3.5-3, cmprsk 2.2-11. Each data set: 2 to 14 patients in at most 3 groups, 0 to 5
# events, times that tie, groups without events or patients, every third with delayed entry. What R
# cannot give (an error, an infinite or undetermined ratio) is null.
suppressMessages({library(survival); library(cmprsk)})
set.seed(20250225)
try_ <- function(x) tryCatch(suppressWarnings(x), error = function(e) NULL)

one <- function(k) {
  n <- sample(2:14, 1)
  d <- data.frame(time = if (k %% 2) sample(1:sample(c(2, 4, 9), 1), n, TRUE) else round(rexp(n, 1 / 6) + 0.1, 1))
  d$event <- 0; d$event[sample(n, min(n, sample(0:5, 1)))] <- 1
  d$entry <- if (k %% 3) 0 else round(d$time * sample(c(0, 0.5, 0.9), n, TRUE), 3)
  d$g <- sample(letters[1:sample(2:3, 1)], n, TRUE)
  d$cause <- ifelse(d$event == 1, sample(1:2, n, TRUE), 0)
  late <- any(d$entry > 0); f <- factor(d$g)
  s <- if (late) Surv(d$entry, d$time, d$event) else Surv(d$time, d$event)
  out <- list(data = d, at = c(1, 2, 4))
  km <- try_(survfit(s ~ g, d))
  q <- quantile(km, 0.5)
  out$median <- list(group = if (is.null(km$strata)) d$g[1] else sub("g=", "", names(km$strata)),
                     estimate = c(q$quantile), lower = c(q$lower), upper = c(q$upper))
  if (nlevels(f) > 1 && any(d$event == 1)) {
    if (!late) out$logrank <- try_({x <- survdiff(s ~ g, d); if (is.finite(x$chisq)) list(chisq = x$chisq, expected = unname(x$exp))})
    out$cox <- try_({
      m <- coxph(s ~ f); b <- unname(coef(m)); se <- unname(sqrt(diag(vcov(m))))
      # profile log likelihood of the first coefficient at 1, others maximised
      x <- model.matrix(~f)[, -1, drop = FALSE]
      p <- if (ncol(x) > 1) coxph(s ~ x[, -1] + offset(x[, 1])) else coxph(s ~ offset(x[, 1]))
      list(coef = b, std_error = se, loglik = m$loglik, score = unname(summary(m)$sctest["test"]),
           at_one = p$loglik[length(p$loglik)])})
  }
  if (any(d$cause == 1)) {
    state <- factor(d$cause, 0:2)
    if (!late) {
      aj <- try_(summary(survfit(Surv(d$time, state) ~ 1), times = out$at, extend = TRUE))
      out$incidence <- list(estimate = aj$pstate[, 2], std_error = aj$std.err[, 2], lower = aj$lower[, 2], upper = aj$upper[, 2])
      if (nlevels(f) > 1) out$gray <- try_({x <- cuminc(d$time, d$cause, d$g)$Tests; unname(x["1", "stat"])})
    } else {
      d$id <- seq_len(n)
      aj <- try_(summary(survfit(Surv(entry, time, state) ~ 1, d, id = id), times = out$at, extend = TRUE))
      if (!is.null(aj)) out$incidence <- list(estimate = aj$pstate[, 2], std_error = aj$std.err[, 2])
    }
  }
  out
}

# JSON by hand: this R may have no jsonlite; a number that is not finite is null
json <- function(x) {
  if (is.null(x)) return("null")
  if (is.data.frame(x)) x <- as.list(x)
  if (is.list(x)) {
    parts <- vapply(x, json, "")
    if (is.null(names(x))) return(paste0("[", paste(parts, collapse = ",\n"), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", parts, collapse = ", "), "}"))
  }
  text <- if (is.character(x)) paste0("\"", x, "\"") else ifelse(is.finite(x), sprintf("%.15g", x), "null")
  paste0("[", paste(text, collapse = ", "), "]")
}
cat(json(list(call = "Rscript tests/reference/few_events.R", r = R.version.string,
              survival = as.character(packageVersion("survival")),
              cmprsk = as.character(packageVersion("cmprsk")), cases = lapply(1:150, one))), "\n")
