//! The fields of metadata and of pods. A line is a type; `s` is a string, `i` and `l` integers, `b` a boolean, `q` a quantity,
//! `x` an integer or a string, `t` a time, `y` bytes; `[X]` an atomic list, `[X|key]` a list keyed by fields, `[X|=]` a set,
//! `{X}` a map; `!` marks a struct or a map that is replaced as a whole.

pub(super) const POD: &str = "
ObjectMeta: annotations {s}; creationTimestamp t; deletionGracePeriodSeconds l; deletionTimestamp t; finalizers [s|=]; generateName s;
    generation l; labels {s}; managedFields [ManagedFieldsEntry]; name s; namespace s; ownerReferences [OwnerReference|uid];
    resourceVersion s; selfLink s; uid s
ManagedFieldsEntry: apiVersion s; fieldsType s; fieldsV1 any; manager s; operation s; subresource s; time t
OwnerReference!: apiVersion s; blockOwnerDeletion b; controller b; kind s; name s; uid s
LabelSelector!: matchExpressions [LabelSelectorRequirement]; matchLabels {s}
LabelSelectorRequirement: key s; operator s; values [s]
Condition: lastTransitionTime t; message s; observedGeneration l; reason s; status s; type s
Pod: apiVersion s; kind s; metadata ObjectMeta; spec PodSpec; status PodStatus
PodTemplateSpec: metadata ObjectMeta; spec PodSpec
PodSpec: activeDeadlineSeconds l; affinity Affinity; automountServiceAccountToken b; containers [Container|name]; dnsConfig PodDNSConfig;
    dnsPolicy s; enableServiceLinks b; ephemeralContainers [EphemeralContainer|name]; hostAliases [HostAlias|ip]; hostIPC b;
    hostNetwork b; hostPID b; hostUsers b; hostname s; hostnameOverride s; imagePullSecrets [LocalObjectReference|name];
    initContainers [Container|name]; nodeName s; nodeSelector {s}!; os PodOS; overhead {q}; preemptionPolicy s; priority i;
    priorityClassName s; readinessGates [PodReadinessGate]; resourceClaims [PodResourceClaim|name]; resources ResourceRequirements;
    restartPolicy s; runtimeClassName s; schedulerName s; schedulingGates [PodSchedulingGate|name]; securityContext PodSecurityContext;
    serviceAccount s; serviceAccountName s; setHostnameAsFQDN b; shareProcessNamespace b; subdomain s; terminationGracePeriodSeconds l;
    tolerations [Toleration]; topologySpreadConstraints [TopologySpreadConstraint|topologyKey,whenUnsatisfiable]; volumes [Volume|name]
PodStatus: conditions [PodCondition|type]; containerStatuses [ContainerStatus]; ephemeralContainerStatuses [ContainerStatus];
    extendedResourceClaimStatus any; hostIP s; hostIPs [HostIP]; initContainerStatuses [ContainerStatus]; message s; nominatedNodeName s;
    observedGeneration l; phase s; podIP s; podIPs [PodIP|ip]; qosClass s; reason s; resize s;
    resourceClaimStatuses [PodResourceClaimStatus|name]; startTime t
PodCondition: lastProbeTime t; lastTransitionTime t; message s; observedGeneration l; reason s; status s; type s
HostIP: ip s
PodIP: ip s
PodResourceClaimStatus: name s; resourceClaimName s
PodOS: name s
PodReadinessGate: conditionType s
PodResourceClaim: name s; resourceClaimName s; resourceClaimTemplateName s
PodSchedulingGate: name s
PodDNSConfig: nameservers [s]; options [PodDNSConfigOption]; searches [s]
PodDNSConfigOption: name s; value s
PodSecurityContext: appArmorProfile AppArmorProfile; fsGroup l; fsGroupChangePolicy s; runAsGroup l; runAsNonRoot b; runAsUser l;
    seLinuxChangePolicy s; seLinuxOptions SELinuxOptions; seccompProfile SeccompProfile; supplementalGroups [l];
    supplementalGroupsPolicy s; sysctls [Sysctl]; windowsOptions WindowsSecurityContextOptions
AppArmorProfile: localhostProfile s; type s
SELinuxOptions: level s; role s; type s; user s
SeccompProfile: localhostProfile s; type s
Sysctl: name s; value s
WindowsSecurityContextOptions: gmsaCredentialSpec s; gmsaCredentialSpecName s; hostProcess b; runAsUserName s
Container: args [s]; command [s]; env [EnvVar|name]; envFrom [EnvFromSource]; image s; imagePullPolicy s; lifecycle Lifecycle;
    livenessProbe Probe; name s; ports [ContainerPort|containerPort,protocol]; readinessProbe Probe;
    resizePolicy [ContainerResizePolicy]; resources ResourceRequirements; restartPolicy s; restartPolicyRules [ContainerRestartRule];
    securityContext SecurityContext; startupProbe Probe; stdin b; stdinOnce b; terminationMessagePath s; terminationMessagePolicy s;
    tty b; volumeDevices [VolumeDevice|devicePath]; volumeMounts [VolumeMount|mountPath]; workingDir s
EphemeralContainer: args [s]; command [s]; env [EnvVar|name]; envFrom [EnvFromSource]; image s; imagePullPolicy s; lifecycle Lifecycle;
    livenessProbe Probe; name s; ports [ContainerPort|containerPort,protocol]; readinessProbe Probe;
    resizePolicy [ContainerResizePolicy]; resources ResourceRequirements; restartPolicy s; restartPolicyRules [ContainerRestartRule];
    securityContext SecurityContext; startupProbe Probe; stdin b; stdinOnce b; targetContainerName s; terminationMessagePath s;
    terminationMessagePolicy s; tty b; volumeDevices [VolumeDevice|devicePath]; volumeMounts [VolumeMount|mountPath]; workingDir s
ContainerRestartRule: action s; exitCodes any
ContainerResizePolicy: resourceName s; restartPolicy s
ContainerPort: containerPort i; hostIP s; hostPort i; name s; protocol s
EnvVar: name s; value s; valueFrom EnvVarSource
EnvVarSource: configMapKeyRef ConfigMapKeySelector; fieldRef ObjectFieldSelector; fileKeyRef any; resourceFieldRef ResourceFieldSelector;
    secretKeyRef SecretKeySelector
ConfigMapKeySelector!: key s; name s; optional b
SecretKeySelector!: key s; name s; optional b
ObjectFieldSelector!: apiVersion s; fieldPath s
ResourceFieldSelector!: containerName s; divisor q; resource s
EnvFromSource: configMapRef ConfigMapEnvSource; prefix s; secretRef SecretEnvSource
ConfigMapEnvSource: name s; optional b
SecretEnvSource: name s; optional b
ResourceRequirements: claims [ResourceClaim|name]; limits {q}; requests {q}
ResourceClaim: name s; request s
Lifecycle: postStart LifecycleHandler; preStop LifecycleHandler; stopSignal s
LifecycleHandler: exec ExecAction; httpGet HTTPGetAction; sleep SleepAction; tcpSocket TCPSocketAction
ExecAction: command [s]
HTTPGetAction: host s; httpHeaders [HTTPHeader]; path s; port x; scheme s
HTTPHeader: name s; value s
SleepAction: seconds l
TCPSocketAction: host s; port x
GRPCAction: port i; service s
Probe: exec ExecAction; failureThreshold i; grpc GRPCAction; httpGet HTTPGetAction; initialDelaySeconds i; periodSeconds i;
    successThreshold i; tcpSocket TCPSocketAction; terminationGracePeriodSeconds l; timeoutSeconds i
SecurityContext: allowPrivilegeEscalation b; appArmorProfile AppArmorProfile; capabilities Capabilities; privileged b; procMount s;
    readOnlyRootFilesystem b; runAsGroup l; runAsNonRoot b; runAsUser l; seLinuxOptions SELinuxOptions; seccompProfile SeccompProfile;
    windowsOptions WindowsSecurityContextOptions
Capabilities: add [s]; drop [s]
VolumeDevice: devicePath s; name s
VolumeMount: mountPath s; mountPropagation s; name s; readOnly b; recursiveReadOnly s; subPath s; subPathExpr s
HostAlias: hostnames [s]; ip s
LocalObjectReference!: name s
Toleration: effect s; key s; operator s; tolerationSeconds l; value s
TopologySpreadConstraint: labelSelector LabelSelector; matchLabelKeys [s]; maxSkew i; minDomains i; nodeAffinityPolicy s;
    nodeTaintsPolicy s; topologyKey s; whenUnsatisfiable s
Affinity: nodeAffinity NodeAffinity; podAffinity PodAffinity; podAntiAffinity PodAffinity
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution [PreferredSchedulingTerm];
    requiredDuringSchedulingIgnoredDuringExecution NodeSelector
PreferredSchedulingTerm: preference NodeSelectorTerm; weight i
NodeSelector!: nodeSelectorTerms [NodeSelectorTerm]
NodeSelectorTerm!: matchExpressions [NodeSelectorRequirement]; matchFields [NodeSelectorRequirement]
NodeSelectorRequirement: key s; operator s; values [s]
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution [WeightedPodAffinityTerm];
    requiredDuringSchedulingIgnoredDuringExecution [PodAffinityTerm]
WeightedPodAffinityTerm: podAffinityTerm PodAffinityTerm; weight i
PodAffinityTerm: labelSelector LabelSelector; matchLabelKeys [s]; mismatchLabelKeys [s]; namespaceSelector LabelSelector; namespaces [s];
    topologyKey s
Volume: awsElasticBlockStore any; azureDisk any; azureFile any; cephfs any; cinder any; configMap ConfigMapVolumeSource;
    csi CSIVolumeSource; downwardAPI DownwardAPIVolumeSource; emptyDir EmptyDirVolumeSource; ephemeral any; fc any; flexVolume any;
    flocker any; gcePersistentDisk any; gitRepo any; glusterfs any; hostPath HostPathVolumeSource; image ImageVolumeSource; iscsi any;
    name s; nfs NFSVolumeSource; persistentVolumeClaim PersistentVolumeClaimVolumeSource; photonPersistentDisk any; portworxVolume any;
    projected ProjectedVolumeSource; quobyte any; rbd any; scaleIO any; secret SecretVolumeSource; storageos any; vsphereVolume any
ConfigMapVolumeSource: defaultMode i; items [KeyToPath]; name s; optional b
SecretVolumeSource: defaultMode i; items [KeyToPath]; optional b; secretName s
KeyToPath: key s; mode i; path s
CSIVolumeSource: driver s; fsType s; nodePublishSecretRef LocalObjectReference; readOnly b; volumeAttributes {s}
DownwardAPIVolumeSource: defaultMode i; items [DownwardAPIVolumeFile]
DownwardAPIVolumeFile: fieldRef ObjectFieldSelector; mode i; path s; resourceFieldRef ResourceFieldSelector
EmptyDirVolumeSource: medium s; sizeLimit q
HostPathVolumeSource: path s; type s
ImageVolumeSource: pullPolicy s; reference s
NFSVolumeSource: path s; readOnly b; server s
PersistentVolumeClaimVolumeSource: claimName s; readOnly b
ProjectedVolumeSource: defaultMode i; sources [VolumeProjection]
VolumeProjection: clusterTrustBundle any; configMap ConfigMapVolumeSource; downwardAPI DownwardAPIVolumeSource; podCertificate any;
    secret SecretProjection; serviceAccountToken ServiceAccountTokenProjection
SecretProjection: items [KeyToPath]; name s; optional b
ServiceAccountTokenProjection: audience s; expirationSeconds l; path s
ContainerStatus: allocatedResources {q}; allocatedResourcesStatus [any]; containerID s; image s; imageID s; lastState ContainerState;
    name s; ready b; resources ResourceRequirements; restartCount i; started b; state ContainerState; stopSignal s; user any;
    volumeMounts [any]
ContainerState: running ContainerStateRunning; terminated ContainerStateTerminated; waiting ContainerStateWaiting
ContainerStateRunning: startedAt t
ContainerStateTerminated: containerID s; exitCode i; finishedAt t; message s; reason s; signal i; startedAt t
ContainerStateWaiting: message s; reason s
";
