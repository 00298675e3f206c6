# Numbers of R's survival package that the classical and Bayesian survival tests compare with.
# Rscript tests/reference/survival.R [folder of real data] > tests/reference/survival_r.json
# R 4.2.2, survival 3.5-3. GBSG, Rotterdam, lung, veteran, mgus2 come with the package; MSK 2018
# (cBioPortal) is read from the folder and left out without it.
suppressMessages({library(survival); library(jsonlite)})
folder <- commandArgs(trailingOnly = TRUE)[1]
month <- 365.25 / 12

km <- function(fit, times) {
  at <- summary(fit, times = times, extend = TRUE)
  data.frame(group = if (is.null(at$strata)) "" else sub("^g=", "", at$strata), time = at$time,
             n_risk = at$n.risk, estimate = at$surv, std_error = at$std.err,
             lower = at$lower, upper = at$upper)
}

quantiles <- function(fit) {
  q <- quantile(fit, c(0.25, 0.5, 0.75))
  out <- lapply(c("quantile", "lower", "upper"), function(k) matrix(q[[k]], ncol = 3))
  names(out) <- c("quantile", "lower", "upper")
  out
}

curves <- function(d, times, tau) {
  out <- list()
  for (type in c("log", "log-log", "plain")) {
    fit <- survfit(Surv(start, time, event) ~ g, d, conf.type = type)
    if (all(d$start == 0)) fit <- survfit(Surv(time, event) ~ g, d, conf.type = type)
    out[[type]] <- list(km = km(fit, times), quantiles = quantiles(fit))
  }
  out$groups <- levels(d$g)
  if (all(d$start == 0)) {
    fit <- survfit(Surv(time, event) ~ g, d)
    table <- summary(fit, rmean = tau)$table
    out$rmst <- list(tau = tau, estimate = table[, "rmean"], std_error = table[, "se(rmean)"])
    reverse <- survfit(Surv(time, 1 - event) ~ g, d)
    out$follow_up <- unname(quantile(reverse, 0.5)$quantile[, 1])
  }
  out
}

cox <- function(formula, d, ties) {
  fit <- coxph(formula, d, ties = ties)
  s <- summary(fit)
  zph <- tryCatch(cox.zph(fit, transform = "km", terms = FALSE)$table, error = function(e) NULL)
  b <- coef(fit)
  list(coef = unname(b), std_error = unname(sqrt(diag(vcov(fit)))), loglik = fit$loglik,
       score = unname(s$sctest["test"]), wald = unname(drop(b %*% solve(vcov(fit), b))),
       lr = 2 * diff(fit$loglik), zph = if (is.null(zph)) NULL else unname(zph[, "chisq"]))
}

logrank <- function(d) {
  f <- Surv(time, event) ~ g
  list(logrank = survdiff(f, d)$chisq, peto = survdiff(f, d, rho = 1)$chisq,
       stratified = survdiff(Surv(time, event) ~ g + strata(s), d)$chisq)
}

# Poisson GLM on rows split at the cuts: the piecewise-exponential maximum-likelihood estimate
pexp <- function(d, cuts) {
  long <- survSplit(Surv(start, time, event) ~ ., d, cut = cuts, start = "from", end = "to",
                    episode = "interval")
  fit <- glm(event ~ 0 + factor(interval) + g + offset(log(to - from)), poisson, long,
             control = list(epsilon = 1e-14, maxit = 100))
  list(cuts = cuts, coef = unname(coef(fit)), std_error = unname(sqrt(diag(vcov(fit)))))
}

all_of <- function(d, times, tau, cuts) {
  f <- Surv(start, time, event) ~ g
  if (all(d$start == 0)) f <- Surv(time, event) ~ g
  out <- list(curves = curves(d, times, tau), efron = cox(f, d, "efron"),
              breslow = cox(f, d, "breslow"),
              stratified = cox(update(f, . ~ . + strata(s)), d, "efron"), pexp = pexp(d, cuts))
  if (all(d$start == 0)) out$tests <- logrank(d)
  out
}

gbsg_ <- with(gbsg, data.frame(start = 0, time = rfstime / month, event = status,
                               g = factor(hormon), s = factor(grade)))
rott_ <- with(rotterdam, data.frame(start = 0, time = dtime / month, event = death,
                                    g = factor(grade), s = factor(meno)))
lung_ <- with(lung, data.frame(start = 0, time = time / month, event = status - 1,
                               g = factor(sex), s = factor(ifelse(is.na(ph.ecog) | ph.ecog < 1, "a", "b"))))
vet_ <- with(veteran, data.frame(start = 0, time = time / month, event = status,
                                 g = factor(celltype, c("adeno", "large", "smallcell", "squamous")),
                                 s = factor(trt)))
# left truncation: veterans seen only from a third of the way to day 60 on (deterministic)
late <- vet_
late$start <- pmin(rep(c(0, 5, 20), length.out = nrow(late)), 60) / month
late <- late[late$time > late$start, ]

out <- list(call = "Rscript tests/reference/survival.R", r = R.version.string,
            survival = as.character(packageVersion("survival")),
            gbsg = all_of(gbsg_, c(12, 24, 36, 60), 60, c(12, 24, 36, 60)),
            rotterdam = all_of(rott_, c(12, 36, 60, 120), 120, c(24, 60, 120)),
            lung = all_of(lung_, c(3, 6, 12, 24), 24, c(6, 12, 18)),
            veteran = all_of(vet_, c(1, 3, 6, 12), 12, c(1, 3, 6)),
            truncated = all_of(late, c(1, 3, 6, 12), 12, c(1, 3, 6)))

# competing causes: progression to plasma-cell malignancy against death before it
m <- within(mgus2, {
  time <- ifelse(pstat == 1, ptime, futime)
  state <- factor(ifelse(pstat == 1, 1, 2 * death), 0:2, c("censor", "pcm", "death"))
})
fg <- finegray(Surv(time, state) ~ ., m[c("time", "state", "sex")], etype = "pcm")
fit <- coxph(Surv(fgstart, fgstop, fgstatus) ~ sex, fg, weights = fgwt, ties = "breslow")
aj <- summary(survfit(Surv(time, state) ~ sex, m), times = c(60, 120, 240))
out$mgus2 <- list(finegray = unname(coef(fit)), times = c(60, 120, 240),
                  cif = unname(aj$pstate[, 2]), cif_death = unname(aj$pstate[, 3]),
                  std_error = unname(aj$std.err[, 2]))

msk <- function(folder) {
  read <- function(f) read.delim(file.path(folder, "breast_msk_2018", f), comment.char = "#",
                                 colClasses = "character", quote = "")
  s <- read("data_clinical_sample.txt"); p <- read("data_clinical_patient.txt")
  class_of <- function(ihc, fish, overall) {
    base <- sub(" .*", "", ihc); negative <- grepl("^Negative", overall)
    ifelse(grepl("^3", base) | grepl("^Pos", fish) | grepl("^Positive", overall), "positive",
    ifelse(base %in% c("0", "0+"), "zero", ifelse(base == "1+", "low",
    ifelse(base %in% c("1-2+", "2+") & negative, "low", NA))))
  }
  number <- function(x) suppressWarnings(as.numeric(x))
  s$collected <- number(s$NGS_SAMPLE_COLLECTION_TIME)
  s$g <- class_of(s$HER2_IHC_SCORE, s$HER2_FISH, s$OVERALL_HER2_STATUS)
  m <- s[s$SAMPLE_TYPE == "Metastasis", ]
  m <- m[order(m$collected), ]; m <- m[!duplicated(m$PATIENT_ID), ]
  m <- merge(m, p, by = "PATIENT_ID")
  # months from the metastatic biopsy to death or last contact
  m$time <- number(m$OS_MONTHS) - (m$collected - number(m$INVASIVE_CARCINOMA_DX_TIME))
  m$event <- as.integer(grepl("^1", m$OS_STATUS))
  m <- m[!is.na(m$g) & !is.na(m$time) & m$time > 0, ]
  data.frame(start = 0, time = m$time, event = m$event,
             g = factor(m$g, c("low", "zero", "positive")),
             s = factor(m$HR_STATUS == "Positive"))
}
if (!is.na(folder)) {
  out$msk <- all_of(msk(folder), c(6, 12, 24, 60), 60, c(6, 12, 24, 48))
}
cat(toJSON(out, digits = I(17), auto_unbox = TRUE, na = "null", null = "null", pretty = 1))
