//! The fields of the core group beside pods, in the notation of `types_pod`.

pub(super) const CORE: &str = "
ConfigMap: apiVersion s; binaryData {y}; data {s}; immutable b; kind s; metadata ObjectMeta
Secret: apiVersion s; data {y}; immutable b; kind s; metadata ObjectMeta; stringData {s}; type s
Service: apiVersion s; kind s; metadata ObjectMeta; spec ServiceSpec; status ServiceStatus
ServiceSpec: allocateLoadBalancerNodePorts b; clusterIP s; clusterIPs [s]; externalIPs [s]; externalName s; externalTrafficPolicy s;
    healthCheckNodePort i; internalTrafficPolicy s; ipFamilies [s]; ipFamilyPolicy s; loadBalancerClass s; loadBalancerIP s;
    loadBalancerSourceRanges [s]; ports [ServicePort|port,protocol]; publishNotReadyAddresses b; selector {s}!; sessionAffinity s;
    sessionAffinityConfig SessionAffinityConfig; trafficDistribution s; type s
ServicePort: appProtocol s; name s; nodePort i; port i; protocol s; targetPort x
SessionAffinityConfig: clientIP ClientIPConfig
ClientIPConfig: timeoutSeconds i
ServiceStatus: conditions [Condition|type]; loadBalancer LoadBalancerStatus
LoadBalancerStatus: ingress [LoadBalancerIngress]
LoadBalancerIngress: hostname s; ip s; ipMode s; ports [PortStatus]
PortStatus: error s; port i; protocol s
ServiceAccount: apiVersion s; automountServiceAccountToken b; imagePullSecrets [LocalObjectReference]; kind s; metadata ObjectMeta;
    secrets [ObjectReference|name]
ObjectReference!: apiVersion s; fieldPath s; kind s; name s; namespace s; resourceVersion s; uid s
Namespace: apiVersion s; kind s; metadata ObjectMeta; spec NamespaceSpec; status NamespaceStatus
NamespaceSpec: finalizers [s]
NamespaceStatus: conditions [Condition|type]; phase s
Node: apiVersion s; kind s; metadata ObjectMeta; spec NodeSpec; status NodeStatus
NodeSpec: configSource any; externalID s; podCIDR s; podCIDRs [s|=]; providerID s; taints [Taint]; unschedulable b
Taint: effect s; key s; timeAdded t; value s
NodeStatus: addresses [NodeAddress|type]; allocatable {q}; capacity {q}; conditions [NodeCondition|type]; config any;
    daemonEndpoints NodeDaemonEndpoints; declaredFeatures [s]; features any; images [ContainerImage]; nodeInfo NodeSystemInfo; phase s;
    runtimeHandlers [any]; volumesAttached [any]; volumesInUse [s]
NodeAddress: address s; type s
NodeCondition: lastHeartbeatTime t; lastTransitionTime t; message s; reason s; status s; type s
NodeDaemonEndpoints: kubeletEndpoint DaemonEndpoint
DaemonEndpoint: Port i
ContainerImage: names [s]; sizeBytes l
NodeSystemInfo: architecture s; bootID s; containerRuntimeVersion s; kernelVersion s; kubeProxyVersion s; kubeletVersion s; machineID s;
    operatingSystem s; osImage s; swap any; systemUUID s
Event: action s; apiVersion s; count i; eventTime t; firstTimestamp t; involvedObject ObjectReference; kind s; lastTimestamp t;
    message s; metadata ObjectMeta; reason s; related ObjectReference; reportingComponent s; reportingInstance s; series EventSeries;
    source EventSource; type s
EventSeries: count i; lastObservedTime t
EventSource: component s; host s
EventsEvent: action s; apiVersion s; deprecatedCount i; deprecatedFirstTimestamp t; deprecatedLastTimestamp t;
    deprecatedSource EventSource; eventTime t; kind s; metadata ObjectMeta; note s; reason s; regarding ObjectReference;
    related ObjectReference; reportingController s; reportingInstance s; series EventSeries; type s
PersistentVolumeClaim: apiVersion s; kind s; metadata ObjectMeta; spec PersistentVolumeClaimSpec; status PersistentVolumeClaimStatus
PersistentVolumeClaimSpec: accessModes [s]; dataSource any; dataSourceRef any; resources VolumeResourceRequirements;
    selector LabelSelector; storageClassName s; volumeAttributesClassName s; volumeMode s; volumeName s
VolumeResourceRequirements: limits {q}; requests {q}
PersistentVolumeClaimStatus: accessModes [s]; allocatedResourceStatuses {s}; allocatedResources {q}; capacity {q};
    conditions [Condition|type]; currentVolumeAttributesClassName s; modifyVolumeStatus any; phase s
ReplicationController: apiVersion s; kind s; metadata ObjectMeta; spec ReplicationControllerSpec; status ReplicationControllerStatus
ReplicationControllerSpec: minReadySeconds i; replicas i; selector {s}!; template PodTemplateSpec
ReplicationControllerStatus: availableReplicas i; conditions [Condition|type]; fullyLabeledReplicas i; observedGeneration l;
    readyReplicas i; replicas i
LimitRange: apiVersion s; kind s; metadata ObjectMeta; spec LimitRangeSpec
LimitRangeSpec: limits [LimitRangeItem]
LimitRangeItem: default {q}; defaultRequest {q}; max {q}; maxLimitRequestRatio {q}; min {q}; type s
ResourceQuota: apiVersion s; kind s; metadata ObjectMeta; spec ResourceQuotaSpec; status ResourceQuotaStatus
ResourceQuotaSpec: hard {q}; scopeSelector any; scopes [s]
ResourceQuotaStatus: hard {q}; used {q}
PodTemplate: apiVersion s; kind s; metadata ObjectMeta; template PodTemplateSpec
Endpoints: apiVersion s; kind s; metadata ObjectMeta; subsets [EndpointSubset]
EndpointSubset: addresses [EndpointAddress]; notReadyAddresses [EndpointAddress]; ports [EndpointPort]
EndpointAddress!: hostname s; ip s; nodeName s; targetRef ObjectReference
EndpointPort!: appProtocol s; name s; port i; protocol s
";
