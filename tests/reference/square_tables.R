# Reference values of tests/classical/test_square_tables.py and test_stratified_tables.py: R 4.2.2, metafor.
# Rscript tests/reference/square_tables.R
x <- matrix(c(124,48,3, 116,162,13, 7,19,79), 3, byrow=TRUE)
options(digits=15)
b <- mcnemar.test(x); print(c(b$statistic, b$parameter, b$p.value))
# Stuart-Maxwell: Stuart 1955, Maxwell 1970
d <- (rowSums(x)-colSums(x))[-3]; S <- -(x+t(x)); diag(S) <- rowSums(x)+colSums(x)-2*diag(x); S <- S[-3,-3]
sm <- drop(t(d)%*%solve(S)%*%d); print(c(sm, pchisq(sm,2,lower=FALSE)))
n<-sum(x); V <- S - d%*%t(d)/n; bh<-drop(t(d)%*%solve(V)%*%d); print(c(bh, pchisq(bh,2,lower=FALSE)))
# kappa via delta method numerically independent: multinomial, numerical gradient
kap <- function(p,w=diag(3)) {r<-rowSums(p);c<-colSums(p);po<-sum(w*p);pe<-sum(w*outer(r,c));(po-pe)/(1-pe)}
p<-x/n
grad <- function(w) {g<-matrix(0,3,3);h<-1e-6;for(i in 1:3)for(j in 1:3){a<-p;a[i,j]<-a[i,j]+h;bq<-p;bq[i,j]<-bq[i,j]-h;g[i,j]<-(kap(a,w)-kap(bq,w))/(2*h)};g}
for (w in list(diag(3), 1-abs(outer(1:3,1:3,"-"))/2, 1-(outer(1:3,1:3,"-")/2)^2)) {
 g<-grad(w); v<-(sum(p*g^2)-sum(p*g)^2)/n; k<-kap(p,w); print(c(k,sqrt(v),k+c(-1,1)*qnorm(.975)*sqrt(v))) }
# null variance (Fleiss 1969)
r<-rowSums(p);cc<-colSums(p);pe<-sum(r*cc); print(sqrt(pe+pe^2-sum(r*cc*(r+cc)))/((1-pe)*sqrt(n)))
# McNemar zero<->low
m<-matrix(c(124,48,116,162),2,byrow=TRUE); print(mcnemar.test(m,correct=FALSE)[1:3]); print(mcnemar.test(m)[1:3]); print(binom.test(48,164)$p.value)
# mid-P
print(2*pbinom(47,164,.5)+dbinom(48,164,.5))
print(binom.test(5,12)$p.value); print(binom.test(48,175)$conf.int)
# by HR, other exact pairs
hp <- matrix(c(103,43,3,100,149,12,6,16,50),3,byrow=TRUE); hn <- matrix(c(21,5,0,16,13,1,1,3,29),3,byrow=TRUE)
a <- array(c(hp,hn),c(3,3,2)); g<-mantelhaen.test(a); print(c(g$statistic,g$parameter,g$p.value))
# changed by hr within primary class: 2x2xk
two <- array(0,c(2,2,3)); for(i in 1:3){two[,,i] <- rbind(c(sum(hp[i,])-hp[i,i],hp[i,i]),c(sum(hn[i,])-hn[i,i],hn[i,i]))}
print(two)
u<-mantelhaen.test(two,correct=FALSE); print(c(u$statistic,u$p.value,u$estimate,u$conf.int)); u<-mantelhaen.test(two); print(c(u$statistic,u$p.value))
# Breslow-Day with and without Tarone
bd <- function(t) {or<-mantelhaen.test(t)$estimate; X<-0; sa<-0;sva<-0
 for(k in 1:dim(t)[3]) {q<-t[,,k]; m1<-sum(q[1,]);m0<-sum(q[2,]);t1<-sum(q[,1]);nn<-sum(q)
  A<-1-or;B<- (m0-t1)+or*(m1+t1);C<- -m1*t1*or; ro<-polyroot(c(C,B,A)); e<-Re(ro[abs(Im(ro))<1e-8]); e<-e[e>=max(0,t1-m0)&e<=min(m1,t1)][1]
  v<-1/(1/e+1/(m1-e)+1/(t1-e)+1/(m0-t1+e)); X<-X+(q[1,1]-e)^2/v; sa<-sa+q[1,1]-e; sva<-sva+v}
 c(BD=X,Tarone=X-sa^2/sva,df=dim(t)[3]-1)}
r<-bd(two); print(c(r, pchisq(r[1:2],2,lower=FALSE)))
suppressMessages(library(metafor)); f<-rma.mh(measure="OR",ai=two[1,1,],bi=two[1,2,],ci=two[2,1,],di=two[2,2,],correct=FALSE); print(c(exp(f$beta),exp(f$ci.lb),exp(f$ci.ub),f$TA,f$TAp,f$MH))
# homogeneity of kappa, Fleiss 1981
ks<-c();vs<-c(); for(q in list(hp,hn)){p<-q/sum(q);n<-sum(q);g<-grad(diag(3));v<-(sum(p*g^2)-sum(p*g)^2)/n;ks<-c(ks,kap(p));vs<-c(vs,v)}
w<-1/vs;kb<-sum(w*ks)/sum(w);print(c(ks,sqrt(vs),kb,sqrt(1/sum(w)),sum(w*(ks-kb)^2),pchisq(sum(w*(ks-kb)^2),1,lower=FALSE)))
print(chisq.test(rbind(c(43,100),c(5,16)),correct=FALSE))
