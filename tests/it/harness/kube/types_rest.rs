//! The fields of the groups beside the core one, in the notation of `types_pod`.

pub(super) const REST: &str = "
Deployment: apiVersion s; kind s; metadata ObjectMeta; spec DeploymentSpec; status DeploymentStatus
DeploymentSpec: minReadySeconds i; paused b; progressDeadlineSeconds i; replicas i; revisionHistoryLimit i; selector LabelSelector;
    strategy DeploymentStrategy; template PodTemplateSpec
DeploymentStrategy: rollingUpdate RollingUpdateDeployment; type s
RollingUpdateDeployment: maxSurge x; maxUnavailable x
DeploymentStatus: availableReplicas i; collisionCount i; conditions [DeploymentCondition|type]; observedGeneration l; readyReplicas i;
    replicas i; terminatingReplicas i; unavailableReplicas i; updatedReplicas i
DeploymentCondition: lastTransitionTime t; lastUpdateTime t; message s; reason s; status s; type s
ReplicaSet: apiVersion s; kind s; metadata ObjectMeta; spec ReplicaSetSpec; status ReplicaSetStatus
ReplicaSetSpec: minReadySeconds i; replicas i; selector LabelSelector; template PodTemplateSpec
ReplicaSetStatus: availableReplicas i; conditions [Condition|type]; fullyLabeledReplicas i; observedGeneration l; readyReplicas i;
    replicas i; terminatingReplicas i
StatefulSet: apiVersion s; kind s; metadata ObjectMeta; spec StatefulSetSpec; status StatefulSetStatus
StatefulSetSpec: minReadySeconds i; ordinals StatefulSetOrdinals; persistentVolumeClaimRetentionPolicy StatefulSetRetention;
    podManagementPolicy s; replicas i; revisionHistoryLimit i; selector LabelSelector; serviceName s; template PodTemplateSpec;
    updateStrategy StatefulSetUpdateStrategy; volumeClaimTemplates [PersistentVolumeClaim]
StatefulSetOrdinals: start i
StatefulSetRetention: whenDeleted s; whenScaled s
StatefulSetUpdateStrategy: rollingUpdate RollingUpdateStatefulSet; type s
RollingUpdateStatefulSet: maxUnavailable x; partition i
StatefulSetStatus: availableReplicas i; collisionCount i; conditions [Condition|type]; currentReplicas i; currentRevision s;
    observedGeneration l; readyReplicas i; replicas i; updateRevision s; updatedReplicas i
DaemonSet: apiVersion s; kind s; metadata ObjectMeta; spec DaemonSetSpec; status DaemonSetStatus
DaemonSetSpec: minReadySeconds i; revisionHistoryLimit i; selector LabelSelector; template PodTemplateSpec;
    updateStrategy DaemonSetUpdateStrategy
DaemonSetUpdateStrategy: rollingUpdate RollingUpdateDeployment; type s
DaemonSetStatus: collisionCount i; conditions [Condition|type]; currentNumberScheduled i; desiredNumberScheduled i; numberAvailable i;
    numberMisscheduled i; numberReady i; numberUnavailable i; observedGeneration l; updatedNumberScheduled i
ControllerRevision: apiVersion s; data any; kind s; metadata ObjectMeta; revision l
Job: apiVersion s; kind s; metadata ObjectMeta; spec JobSpec; status JobStatus
JobSpec: activeDeadlineSeconds l; backoffLimit i; backoffLimitPerIndex i; completionMode s; completions i; managedBy s; manualSelector b;
    maxFailedIndexes i; parallelism i; podFailurePolicy any; podReplacementPolicy s; selector LabelSelector; successPolicy any;
    suspend b; template PodTemplateSpec; ttlSecondsAfterFinished i
JobStatus: active i; completedIndexes s; completionTime t; conditions [JobCondition]; failed i; failedIndexes s; ready i; startTime t;
    succeeded i; terminating i; uncountedTerminatedPods any
JobCondition: lastProbeTime t; lastTransitionTime t; message s; reason s; status s; type s
CronJob: apiVersion s; kind s; metadata ObjectMeta; spec CronJobSpec; status CronJobStatus
CronJobSpec: concurrencyPolicy s; failedJobsHistoryLimit i; jobTemplate JobTemplateSpec; schedule s; startingDeadlineSeconds l;
    successfulJobsHistoryLimit i; suspend b; timeZone s
JobTemplateSpec: metadata ObjectMeta; spec JobSpec
CronJobStatus: active [ObjectReference]; lastScheduleTime t; lastSuccessfulTime t
Scale: apiVersion s; kind s; metadata ObjectMeta; spec ScaleSpec; status ScaleStatus
ScaleSpec: replicas i
ScaleStatus: replicas i; selector s
HorizontalPodAutoscaler: apiVersion s; kind s; metadata ObjectMeta; spec HorizontalPodAutoscalerSpec; status HorizontalPodAutoscalerStatus
HorizontalPodAutoscalerSpec: behavior any; maxReplicas i; metrics [MetricSpec]; minReplicas i; scaleTargetRef CrossVersionObjectReference
MetricSpec: containerResource any; external any; object any; pods any; resource ResourceMetricSource; type s
ResourceMetricSource: name s; target MetricTarget
MetricTarget: averageUtilization i; averageValue q; type s; value q
CrossVersionObjectReference!: apiVersion s; kind s; name s
HorizontalPodAutoscalerStatus: conditions [Condition|type]; currentMetrics [any]; currentReplicas i; desiredReplicas i; lastScaleTime t;
    observedGeneration l
HorizontalPodAutoscalerV1: apiVersion s; kind s; metadata ObjectMeta; spec HorizontalPodAutoscalerV1Spec;
    status HorizontalPodAutoscalerV1Status
HorizontalPodAutoscalerV1Spec: maxReplicas i; minReplicas i; scaleTargetRef CrossVersionObjectReference; targetCPUUtilizationPercentage i
HorizontalPodAutoscalerV1Status: currentCPUUtilizationPercentage i; currentReplicas i; desiredReplicas i; lastScaleTime t;
    observedGeneration l
PodDisruptionBudget: apiVersion s; kind s; metadata ObjectMeta; spec PodDisruptionBudgetSpec; status PodDisruptionBudgetStatus
PodDisruptionBudgetSpec: maxUnavailable x; minAvailable x; selector LabelSelector; unhealthyPodEvictionPolicy s
PodDisruptionBudgetStatus: conditions [Condition|type]; currentHealthy i; desiredHealthy i; disruptedPods {t}; disruptionsAllowed i;
    expectedPods i; observedGeneration l
Ingress: apiVersion s; kind s; metadata ObjectMeta; spec IngressSpec; status IngressStatus
IngressSpec: defaultBackend IngressBackend; ingressClassName s; rules [IngressRule]; tls [IngressTLS]
IngressBackend: resource any; service IngressServiceBackend
IngressServiceBackend: name s; port ServiceBackendPort
ServiceBackendPort!: name s; number i
IngressRule: host s; http HTTPIngressRuleValue
HTTPIngressRuleValue: paths [HTTPIngressPath]
HTTPIngressPath: backend IngressBackend; path s; pathType s
IngressTLS: hosts [s]; secretName s
IngressStatus: loadBalancer any
NetworkPolicy: apiVersion s; kind s; metadata ObjectMeta; spec NetworkPolicySpec
NetworkPolicySpec: egress [NetworkPolicyEgressRule]; ingress [NetworkPolicyIngressRule]; podSelector LabelSelector; policyTypes [s]
NetworkPolicyEgressRule: ports [NetworkPolicyPort]; to [NetworkPolicyPeer]
NetworkPolicyIngressRule: from [NetworkPolicyPeer]; ports [NetworkPolicyPort]
NetworkPolicyPort: endPort i; port x; protocol s
NetworkPolicyPeer: ipBlock IPBlock; namespaceSelector LabelSelector; podSelector LabelSelector
IPBlock: cidr s; except [s]
Role: apiVersion s; kind s; metadata ObjectMeta; rules [PolicyRule]
ClusterRole: aggregationRule AggregationRule; apiVersion s; kind s; metadata ObjectMeta; rules [PolicyRule]
AggregationRule: clusterRoleSelectors [LabelSelector]
PolicyRule: apiGroups [s]; nonResourceURLs [s]; resourceNames [s]; resources [s]; verbs [s]
RoleBinding: apiVersion s; kind s; metadata ObjectMeta; roleRef RoleRef; subjects [Subject]
ClusterRoleBinding: apiVersion s; kind s; metadata ObjectMeta; roleRef RoleRef; subjects [Subject]
RoleRef!: apiGroup s; kind s; name s
Subject!: apiGroup s; kind s; name s; namespace s
StorageClass: allowVolumeExpansion b; allowedTopologies [any]; apiVersion s; kind s; metadata ObjectMeta; mountOptions [s];
    parameters {s}; provisioner s; reclaimPolicy s; volumeBindingMode s
Lease: apiVersion s; kind s; metadata ObjectMeta; spec LeaseSpec
LeaseSpec: acquireTime t; holderIdentity s; leaseDurationSeconds i; leaseTransitions i; preferredHolder s; renewTime t; strategy s
";
