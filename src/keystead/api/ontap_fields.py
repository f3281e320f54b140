"""The field names that ONTAP's resources have: generated, do not edit.

``scripts/generate_ontap_fields.py`` reads them from the schemas of netapp-ontap 9.19.1.0. A type is a text of names;
``name:Type`` has members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES: Final[Mapping[str, str]] = {
    "Account": (
        "_links:SelfLink applications:AccountApplication comment locked name owner:Svm password "
        "password_hash_algorithm role:Role scope "
    ),
    "AccountApplication": (
        "application authentication_methods is_ldap_fastbind is_ns_switch_group second_authentication_method"
    ),
    "ActiveDirectorySecurity": "advertised_kdc_encryptions",
    "AdDomainSvm": "default_site fqdn organizational_unit password user",
    "AggrSpaceEfficiency": (
        "auto_adaptive_compression_savings cross_volume_background_dedupe cross_volume_dedupe_savings "
        "cross_volume_inline_dedupe enable_workload_informed_tsse logical_used ratio savings "
        "wise_tsse_min_used_capacity_pct "
    ),
    "Aggregate": (
        "_links:SelfLink _tags block_storage:AggregateBlockStorage cloud_storage:AggregateCloudStorage create_time "
        "data_encryption:AggregateDataEncryption dr_home_node:DrNode home_node:Node "
        "inactive_data_reporting:AggregateInactiveDataReporting inode_attributes:AggregateInodeAttributes is_spare_low "
        "metric:PerformanceMetric name node:Node sidl_enabled snaplock_type snapshot:AggregateSnapshot "
        "space:AggregateSpace state statistics:PerformanceMetricRaw uuid volume-count "
    ),
    "AggregateBlockStorage": (
        "hybrid_cache:AggregateBlockStorageHybridCache mirror:AggregateBlockStorageMirror plexes:Plex "
        "primary:AggregateBlockStoragePrimary storage_type uses_partitions "
    ),
    "AggregateBlockStorageHybridCache": (
        "disk_count disk_type enabled raid_size raid_type "
        "simulated_raid_groups:AggregateBlockStorageHybridCacheSimulatedRaidGroups size "
        "storage_pools:AggregateBlockStorageHybridCacheStoragePools used "
    ),
    "AggregateBlockStorageHybridCacheSimulatedRaidGroups": (
        "added_data_disk_count added_parity_disk_count existing_data_disk_count existing_parity_disk_count "
        "is_partition name usable_size "
    ),
    "AggregateBlockStorageHybridCacheStoragePools": "allocation_units_count storage_pool:StoragePool",
    "AggregateBlockStorageMirror": "enabled state",
    "AggregateBlockStoragePrimary": (
        "checksum_style disk_class disk_count disk_type raid_size raid_type "
        "simulated_raid_groups:AggregateBlockStoragePrimarySimulatedRaidGroups "
    ),
    "AggregateBlockStoragePrimarySimulatedRaidGroups": (
        "added_data_disk_count added_parity_disk_count data_disk_count existing_data_disk_count "
        "existing_parity_disk_count is_partition name parity_disk_count raid_type usable_size "
    ),
    "AggregateCloudStorage": "attach_eligible migrate_threshold stores:CloudStorageTier tiering_fullness_threshold",
    "AggregateDataEncryption": "drive_protection_enabled software_encryption_enabled",
    "AggregateInactiveDataReporting": "enabled start_time",
    "AggregateInodeAttributes": (
        "file_private_capacity file_public_capacity files_private_used files_total files_used max_files_available "
        "max_files_possible max_files_used used_percent version "
    ),
    "AggregateSnapshot": "files_total files_used max_files_available max_files_used",
    "AggregateSpace": (
        "block_storage:AggregateSpaceBlockStorage cloud_storage:AggregateSpaceCloudStorage "
        "efficiency:AggrSpaceEfficiency efficiency_without_snapshots:SpaceEfficiency "
        "efficiency_without_snapshots_flexclones:SpaceEfficiency footprint logical_used logical_used_percent "
        "snapshot:AggregateSpaceSnapshot total_provisioned_space "
    ),
    "AggregateSpaceBlockStorage": (
        "aggregate_metadata aggregate_metadata_percent available data_compacted_count data_compaction_space_saved "
        "data_compaction_space_saved_percent full_threshold_percent inactive_user_data inactive_user_data_percent "
        "physical_used physical_used_percent size used used_including_snapshot_reserve "
        "used_including_snapshot_reserve_percent used_percent volume_deduplication_shared_count "
        "volume_deduplication_space_saved volume_deduplication_space_saved_percent volume_footprints_percent "
    ),
    "AggregateSpaceCloudStorage": "used",
    "AggregateSpaceSnapshot": "available reserve_percent total used used_percent",
    "ApplicationSanAccessIscsiEndpointInterfaceIp": "address",
    "ArwVserver": "event_log:ArwVserverEventLog",
    "ArwVserverEventLog": "is_enabled_on_new_file_extension_seen is_enabled_on_snapshot_copy_creation",
    "BroadcastDomain": "_links:SelfLink ipspace:Ipspace mtu name ports:Port uuid",
    "BroadcastDomainSvm": "_links:SelfLink name uuid",
    "CloudStorageTier": "cloud_store:CloudStore used",
    "CloudStore": (
        "_links:SelfLink aggregate:CloudStoreAggregate availability availability_at_partner mirror_degraded primary "
        "resync-progress target:CloudTarget unavailable_reason:CloudStoreUnavailableReason unreclaimed_space_threshold "
        "used "
    ),
    "CloudStoreAggregate": "name",
    "CloudStoreUnavailableReason": "message",
    "CloudTarget": (
        "_links:SelfLink access_key authentication_type azure_account azure_msi_token azure_private_key "
        "azure_sas_token cap_url certificate_validation_enabled cluster:CloudTargetCluster container ipspace:Ipspace "
        "name owner port provider_type read_latency_warning_threshold scope secret_password server "
        "server_side_encryption snapmirror_use ssl_enabled svm:Svm url_style use_http_proxy used uuid "
    ),
    "CloudTargetCluster": "name uuid",
    "Cluster": (
        "_links:SelfLink _tags active_directory:ClusterActiveDirectory auto_enable_activity_tracking "
        "auto_enable_analytics certificate:SecurityCertificate cluster_network_overlay_enabled "
        "configuration_backup:ConfigurationBackup contact disaggregated dns_domains ha:ClusterHa license:LicenseKeys "
        "location management_interface:ClusterManagementInterface management_interfaces:IpInterface "
        "metric:PerformanceMetric name name_servers nodes:Node ntp_servers password "
        "peering_policy:ClusterPeeringPolicy san_optimized statistics:PerformanceMetricRaw timezone:TimezoneCluster "
        "uuid version:Version "
    ),
    "ClusterActiveDirectory": (
        "force_account_overwrite fqdn name organizational_unit password security:ActiveDirectorySecurity username"
    ),
    "ClusterHa": "failover_protection_level",
    "ClusterManagementInterface": "ip:IpInterfaceAndGateway",
    "ClusterNodesClusterInterface": "ip:NodeSetupIp",
    "ClusterNodesController": (
        "board cpu:ClusterNodesControllerCpu failed_fan:ClusterNodesControllerFailedFan "
        "failed_power_supply:ClusterNodesControllerFailedPowerSupply flash_cache:ClusterNodesControllerFlashCache "
        "frus:ClusterNodesControllerFrus memory_size over_temperature "
    ),
    "ClusterNodesControllerCpu": "count firmware_release processor",
    "ClusterNodesControllerFailedFan": "count message:ClusterNodesControllerFailedFanMessage",
    "ClusterNodesControllerFailedFanMessage": "code message",
    "ClusterNodesControllerFailedPowerSupply": "count message:ClusterNodesControllerFailedPowerSupplyMessage",
    "ClusterNodesControllerFailedPowerSupplyMessage": "code message",
    "ClusterNodesControllerFlashCache": (
        "capacity device_id firmware_file firmware_version hardware_revision model part_number serial_number slot state"
    ),
    "ClusterNodesControllerFrus": "id state type",
    "ClusterNodesExternalCache": "is_enabled is_hya_enabled is_rewarm_enabled pcs_size",
    "ClusterNodesExternalCacheBypass": "enabled large_read_ops_allow_percent reset",
    "ClusterNodesHaGivebackFailure": "code message",
    "ClusterNodesHaGivebackOf": "failure:ClusterNodesHaGivebackOfFailure state",
    "ClusterNodesHaGivebackOfFailure": "code message",
    "ClusterNodesHaGivebackStatus": "aggregate:Aggregate error:ClusterNodesHaGivebackStatusError state",
    "ClusterNodesHaGivebackStatusError": "code message",
    "ClusterNodesHaInterconnect": "adapter state",
    "ClusterNodesHaPeering": (
        "dst_peer_node1:ClusterNodesHaPeeringDstPeerNode1 dst_peer_node2:ClusterNodesHaPeeringDstPeerNode2 "
        "dst_peer_node3:ClusterNodesHaPeeringDstPeerNode3 ineligible node_protection_level "
    ),
    "ClusterNodesHaPeeringDstPeerNode1": "name uuid",
    "ClusterNodesHaPeeringDstPeerNode2": "name uuid",
    "ClusterNodesHaPeeringDstPeerNode3": "name uuid",
    "ClusterNodesHaPorts": "number state",
    "ClusterNodesHaTakeover": "failure:ClusterNodesHaTakeoverFailure state",
    "ClusterNodesHaTakeoverCheck": "reasons takeover_possible",
    "ClusterNodesHaTakeoverFailure": "code message",
    "ClusterNodesHaTakeoverOf": "failure:ClusterNodesHaTakeoverOfFailure state",
    "ClusterNodesHaTakeoverOfFailure": "code message",
    "ClusterNodesHwAssistStatus": "enabled local:HwAssistStatus partner:HwAssistStatus",
    "ClusterNodesManagementInterface": "ip:NodeSetupIp",
    "ClusterNodesManagementInterfaces": "_links:SelfLink ip:ApplicationSanAccessIscsiEndpointInterfaceIp name uuid",
    "ClusterNodesMetrocluster": "custom_vlan_capable ports:ClusterNodesMetroclusterPorts type",
    "ClusterNodesMetroclusterPorts": "name",
    "ClusterNodesNvlog": "backing_type swap_mode",
    "ClusterNodesNvram": "battery_state id",
    "ClusterNodesServiceProcessorApiService": "enabled limit_access port",
    "ClusterNodesServiceProcessorAutoConfig": "ipv4_subnet ipv6_subnet",
    "ClusterNodesServiceProcessorBackup": "is_current state version",
    "ClusterNodesServiceProcessorPrimary": "is_current state version",
    "ClusterNodesServiceProcessorSshInfo": "allowed_addresses",
    "ClusterNodesServiceProcessorWebService": "enabled limit_access",
    "ClusterNodesSnaplock": "compliance_clock_time",
    "ClusterNodesVm": "provider_type",
    "ClusterPeeringPolicy": "authentication_required encryption_required minimum_passphrase_length",
    "ConfigurationBackup": "password rest_method url username validate_certificate",
    "ContainerVolumeExcludeAggregates": "_links:SelfLink name uuid",
    "DeviceDiscoveryData": (
        "capabilities chassis_id ip_addresses name platform protocol remaining_hold_time remote_port system_name "
        "version "
    ),
    "Disk": (
        "aggregates:ContainerVolumeExcludeAggregates bay bytes_per_sector class compliance_standard container_type "
        "control_standard dr_node:DrNode drawer:DiskDrawer effective_type encryption_operation error:DiskErrorInfo "
        "fips_certified firmware_version home_node:Node key_id:DiskKeyId local location model name node:Node "
        "outage:DiskOutage overall_security paths:DiskPathInfo physical_size pool protection_mode "
        "rated_life_used_percent right_size_sector_count rpm sanitize_spare sector_count self_encrypting serial_number "
        "shelf:Shelf state stats:DiskStats storage_availability_zone:StorageAvailabilityZone storage_pool:StoragePool "
        "type uid usable_size vendor virtual:DiskVirtual "
    ),
    "DiskDrawer": "id slot",
    "DiskErrorInfo": "reason:Error type",
    "DiskKeyId": "data fips",
    "DiskOutage": "persistently_failed reason:Error",
    "DiskPathInfo": (
        "disk_path_name initiator node.name node.uuid port_name port_type vmdisk_hypervisor_file_name wwnn wwpn"
    ),
    "DiskStats": "average_latency iops_total path_error_count power_on_hours throughput",
    "DiskVirtual": "container object storage_account target_address",
    "DrNode": "name uuid",
    "EmsCertificate": "_links:SelfLink ca name serial_number",
    "EmsConnectivityError": "message:EmsUiMessage node:Node",
    "EmsDestination": (
        "_links:SelfLink access_control_role:Role certificate:EmsCertificate connectivity:EmsDestinationConnectivity "
        "destination filters:EmsFilter name syslog:EmsSyslog system_defined type "
    ),
    "EmsDestinationConnectivity": "errors:EmsConnectivityError state",
    "EmsEvent": (
        "_links:EmsEventLinks index log_message message:EmsEventMessage1 node:Node parameters:EmsEventParameter source "
        "time "
    ),
    "EmsEventActionTitleArguments": "code message",
    "EmsEventLinks": "self:Href",
    "EmsEventMessage1": "_links:SelfLink name severity",
    "EmsEventParameter": "name value",
    "EmsFilter": "_links:SelfLink access_control_role:Role name rules:EmsFilterRule system_defined",
    "EmsFilterResponseRecordsRulesParameterCriteria": "name_pattern value_pattern",
    "EmsFilterRule": (
        "_links:SelfLink index message_criteria:EmsFilterRulesMessageCriteria "
        "parameter_criteria:EmsFilterResponseRecordsRulesParameterCriteria type "
    ),
    "EmsFilterRulesMessageCriteria": "_links:RelatedLink name_pattern severities snmp_trap_types",
    "EmsMessage": "_links:SelfLink corrective_action deprecated description name severity snmp_trap_type",
    "EmsSyslog": "format:EmsSyslogFormat port transport",
    "EmsSyslogFormat": "hostname_override message timestamp_override",
    "EmsUiMessage": "arguments:EmsEventActionTitleArguments code message",
    "Error": "arguments:ErrorArguments code message",
    "ErrorArguments": "code message",
    "FcInterfaceSvm": "_links:SelfLink data_protocol location:FcInterfaceSvmLocation name uuid",
    "FcInterfaceSvmLocation": "port:FcPort",
    "FcPort": (
        "_links:SelfLink description enabled fabric:FcPortFabric interface_count "
        "metric:PerformanceMetricReducedThroughput name node:Node physical_protocol speed:FcPortSpeed state "
        "statistics:PerformanceMetricRawReducedThroughput supported_protocols topology:FcPortTopology "
        "transceiver:FcPortTransceiver uuid wwnn wwpn "
    ),
    "FcPortFabric": "connected connected_speed name port_address switch_port",
    "FcPortSpeed": "configured maximum",
    "FcPortTopology": "configured supported",
    "FcPortTransceiver": "capabilities form_factor manufacturer part_number",
    "Fips": "enabled",
    "HealthMonitorPolicyFields": "enabled manage_volume_offline",
    "Href": "href",
    "HwAssist": "status:ClusterNodesHwAssistStatus",
    "HwAssistStatus": "ip port state",
    "IgroupConnectivityTrackingRequiredNodes": "_links:SelfLink name uuid",
    "InterfaceMetricsData": "_links:SelfLink duration status throughput:PerformanceMetricIoTypeRwt timestamp",
    "InterfaceStatistics": "status throughput_raw:PerformanceMetricIoTypeRwt timestamp",
    "IpAddressRange": "end family start",
    "IpInfo": "address family netmask",
    "IpInterface": (
        "_links:SelfLink ddns_enabled dns_zone enabled fail_if_subnet_conflicts ip:IpInfo ipspace:Ipspace "
        "location:IpInterfaceLocation metric:InterfaceMetricsData name probe_port rdma_protocols scope "
        "service_policy:IpServicePolicy services state statistics:InterfaceStatistics subnet:IpSubnet svm:Svm uuid vip "
    ),
    "IpInterfaceAndGateway": "address gateway netmask",
    "IpInterfaceLocation": (
        "auto_revert broadcast_domain:BroadcastDomainSvm failover home_node:Node home_port:Port is_home node:Node "
        "port:Port "
    ),
    "IpInterfaceSvm": (
        "_links:SelfLink ip:IpInterfaceSvmIp location:IpInterfaceSvmLocation name service_policy services "
        "subnet:IpSubnet uuid "
    ),
    "IpInterfaceSvmIp": "address netmask",
    "IpInterfaceSvmLocation": "broadcast_domain:BroadcastDomainSvm home_node:Node home_port:PortSvm",
    "IpServicePolicy": "_links:SelfLink ipspace:Ipspace is_built_in name scope services svm:Svm uuid",
    "IpSubnet": (
        "_links:SelfLink available_count available_ip_ranges:IpAddressRange broadcast_domain:BroadcastDomainSvm "
        "fail_if_lifs_conflict gateway ip_ranges:IpAddressRange ipspace:Ipspace name subnet:IpInfo total_count "
        "used_count uuid "
    ),
    "Ipspace": "_links:SelfLink name tcp_stack uuid",
    "Ipv4Interface": "address enabled gateway netmask setup_state",
    "Ipv6Interface": "address enabled gateway is_ipv6_ra_enabled link_local_ip netmask router_ip setup_state",
    "Job": "_links:SelfLink code description end_time error:Error message node:JobNode start_time state svm:Svm uuid",
    "JobNode": "name",
    "KeyManagerAuthKey": "_links:SelfLink key_id key_tag passphrase security_key_manager:SecurityKeyManager",
    "KeyManagerConfig": (
        "_links:SelfLink cc_mode_enabled cloud_kms_retry_count "
        "health_monitor_policy:KeyManagerConfigHealthMonitorPolicy health_monitor_polling_interval passphrase "
    ),
    "KeyManagerConfigHealthMonitorPolicy": (
        "akv:HealthMonitorPolicyFields aws:HealthMonitorPolicyFields barbican:HealthMonitorPolicyFields "
        "gcp:HealthMonitorPolicyFields ikp:HealthMonitorPolicyFields kmip:HealthMonitorPolicyFields "
        "okm:HealthMonitorPolicyFields "
    ),
    "KeyManagerKeys": (
        "_links:SelfLink crn encryption_algorithm key_id key_manager key_server key_store key_store_type key_tag "
        "key_type key_user node:Node policy restored scope security_key_manager:SecurityKeyManager svm:Svm "
    ),
    "KeyManagerState": "code message",
    "KeyServer": (
        "_links:SelfLink connectivity:KeyServerStateArray create_remove_timeout password port "
        "records:KeyServerNoRecords secondary_key_servers server timeout username "
    ),
    "KeyServerNoRecords": "_links:SelfLink connectivity:KeyServerStateArray password port server timeout username",
    "KeyServerReadcreate": (
        "_links:SelfLink connectivity:KeyServerStateArray secondary_key_servers server timeout username"
    ),
    "KeyServerState": "node:Node state",
    "KeyServerStateArray": "cluster_availability node_states:KeyServerState",
    "LicenseKeys": "keys",
    "LoginMessages": "_links:SelfLink banner message scope show_cluster_message svm:Svm uuid",
    "ManagementProtocols": "rsh_enabled telnet_enabled",
    "NetworkRouteForSvm": "destination:IpInfo gateway",
    "Node": (
        "_links:SelfLink anti_ransomware_version cluster_interface:ClusterNodesClusterInterface "
        "cluster_interfaces:ClusterNodesManagementInterfaces controller:ClusterNodesController date "
        "external_cache:ClusterNodesExternalCache external_cache_bypass:ClusterNodesExternalCacheBypass ha:NodeHa "
        "hw_assist:HwAssist is_spares_low location management_interface:ClusterNodesManagementInterface "
        "management_interfaces:ClusterNodesManagementInterfaces membership metric:NodeMetrics "
        "metrocluster:ClusterNodesMetrocluster model name nvlog:ClusterNodesNvlog nvram:ClusterNodesNvram owner "
        "serial_number service_processor:ServiceProcessor snaplock:ClusterNodesSnaplock state "
        "statistics:NodeStatistics storage_availability_zones:StorageAvailabilityZone storage_configuration "
        "system_aggregate:Aggregate system_id system_machine_type uptime uuid vendor_serial_number version:Version "
        "vm:ClusterNodesVm "
    ),
    "NodeHa": (
        "auto_giveback auto_giveback_of enable_takeover_of enabled giveback:NodeHaGiveback "
        "giveback_of:ClusterNodesHaGivebackOf giveback_of_possible interconnect:ClusterNodesHaInterconnect "
        "partners:IgroupConnectivityTrackingRequiredNodes peering:ClusterNodesHaPeering ports:ClusterNodesHaPorts "
        "takeover:ClusterNodesHaTakeover takeover_check:ClusterNodesHaTakeoverCheck "
        "takeover_of:ClusterNodesHaTakeoverOf takeover_of_possible type "
    ),
    "NodeHaGiveback": "failure:ClusterNodesHaGivebackFailure state status:ClusterNodesHaGivebackStatus",
    "NodeMetrics": "_links:SelfLink duration processor_utilization status timestamp",
    "NodeResponseRecordsHaPartners": "_links:SelfLink name uuid",
    "NodeSetupIp": "address",
    "NodeStatistics": "processor_utilization_base processor_utilization_raw status timestamp",
    "OnboardKeyManagerConfigurableStatus": "code message supported",
    "PerformanceMetric": (
        "_links:SelfLink duration iops:PerformanceMetricIoType latency:PerformanceMetricIoType status "
        "throughput:PerformanceMetricIoType timestamp "
    ),
    "PerformanceMetricIoType": "other read total write",
    "PerformanceMetricIoTypeRwt": "read total write",
    "PerformanceMetricRaw": (
        "iops_raw:PerformanceMetricIoType latency_raw:PerformanceMetricIoType status "
        "throughput_raw:PerformanceMetricIoType timestamp "
    ),
    "PerformanceMetricRawReducedThroughput": (
        "iops_raw:PerformanceMetricIoType latency_raw:PerformanceMetricIoType status "
        "throughput_raw:PerformanceMetricIoTypeRwt timestamp "
    ),
    "PerformanceMetricReducedThroughput": (
        "_links:SelfLink duration iops:PerformanceMetricIoType latency:PerformanceMetricIoType status "
        "throughput:PerformanceMetricIoTypeRwt timestamp "
    ),
    "Plex": "aggregate:Aggregate name online pool raid_groups:RaidGroup resync:PlexResync state",
    "PlexResync": "active level percent",
    "PoolHealth": "is_healthy state unhealthy_reason:Error",
    "Port": (
        "_links:SelfLink broadcast_domain:BroadcastDomain discovered_devices:DeviceDiscoveryData enabled "
        "flowcontrol_admin interface_count lag:PortLag mac_address metric:PortMetricsData mtu name node:Node "
        "pfc_queues_admin rdma_protocols reachability reachable_broadcast_domains:BroadcastDomain speed state "
        "statistics:PortStatistics type uuid vlan:PortVlan "
    ),
    "PortLag": "active_ports:Port distribution_policy member_ports:Port mode",
    "PortMetricsData": "_links:SelfLink duration status throughput:PerformanceMetricIoTypeRwt timestamp",
    "PortStatistics": "device:PortStatisticsDevice status throughput_raw:PerformanceMetricIoTypeRwt timestamp",
    "PortStatisticsDevice": (
        "link_down_count_raw receive_raw:PortStatisticsPacketCounters timestamp "
        "transmit_raw:PortStatisticsPacketCounters "
    ),
    "PortStatisticsPacketCounters": "discards errors packets",
    "PortSvm": "_links:SelfLink name uuid",
    "PortVlan": "base_port:Port tag",
    "QosPolicy": (
        "_links:SelfLink adaptive:QosPolicyAdaptive burst:QosPolicyBurst fixed:QosPolicyFixed name object_count pgid "
        "policy_class scope svm:Svm uuid "
    ),
    "QosPolicyAdaptive": (
        "absolute_min_iops block_size expected_iops expected_iops_allocation peak_iops peak_iops_allocation"
    ),
    "QosPolicyBurst": "duration iops percent",
    "QosPolicyFixed": (
        "capacity_shared max_throughput max_throughput_iops max_throughput_mbps min_throughput min_throughput_iops "
        "min_throughput_mbps "
    ),
    "RaidGroup": (
        "cache_tier degraded disks:RaidGroupDisk name raid_type recomputing_parity:RaidGroupRecomputingParity "
        "reconstruct:RaidGroupReconstruct "
    ),
    "RaidGroupDisk": "disk:Disk position state type usable_size",
    "RaidGroupRecomputingParity": "active percent",
    "RaidGroupReconstruct": "active percent",
    "RelatedLink": "related:Href",
    "Role": "_links:SelfLink builtin name owner:Svm privileges:RolePrivilege scope",
    "RolePrivilege": "_links:SelfLink access path query",
    "Schedule": "_links:SelfLink cluster:ScheduleCluster cron:ScheduleCron interval name scope svm:Svm type uuid",
    "ScheduleCluster": "name uuid",
    "ScheduleCron": "days hours minutes months weekdays",
    "SecurityAudit": "_links:SelfLink cli http ontapi",
    "SecurityAuditLog": (
        "_links:SelfLink application command_id index input location message node:Node role scope session_id state "
        "svm:SecurityAuditLogSvm timestamp user "
    ),
    "SecurityAuditLogForward": (
        "address facility hostname_format_override ipspace:Ipspace message_format port protocol "
        "timestamp_format_override verify_server "
    ),
    "SecurityAuditLogSvm": "name",
    "SecurityAzure": (
        "client_certificate client_id client_secret key_vault oauth_host proxy:SecurityProxy tenant_id timeout "
        "verify_host "
    ),
    "SecurityCertificate": (
        "_links:SelfLink authority_key_identifier azure:SecurityAzure ca common_name expiry_time hash_function "
        "intermediate_certificates key_size name private_key public_certificate scope serial_number "
        "subject_alternatives:SubjectAlternateName subject_key_identifier svm:Svm type uuid "
    ),
    "SecurityConfig": (
        "_links:SelfLink fips:Fips management_protocols:ManagementProtocols "
        "onboard_key_manager_configurable_status:OnboardKeyManagerConfigurableStatus "
        "software_data_encryption:SoftwareDataEncryption tls:Tls "
    ),
    "SecurityKeyManager": (
        "_links:SelfLink configuration:SecurityKeystoreConfiguration enabled external:SecurityKeyManagerExternal "
        "is_default_data_at_rest_encryption_disabled onboard:SecurityKeyManagerOnboard policy scope "
        "status:KeyManagerState svm:Svm uuid volume_encryption:VolumeEncryptionSupport "
    ),
    "SecurityKeyManagerExternal": (
        "client_certificate:SecurityCertificate server_ca_certificates:SecurityCertificate servers:KeyServerReadcreate"
    ),
    "SecurityKeyManagerOnboard": "enabled existing_passphrase key_backup passphrase synchronize",
    "SecurityKeystore": (
        "configuration:SecurityKeystoreConfiguration enabled is_svm_kek location scope state svm:Svm type uuid"
    ),
    "SecurityKeystoreConfiguration": "_links:SelfLink name uuid",
    "SecurityProxy": "host password port type username",
    "SelfLink": "self:Href",
    "ServiceProcessor": (
        "api_service:ClusterNodesServiceProcessorApiService auto_config:ClusterNodesServiceProcessorAutoConfig "
        "autoupdate_enabled backup:ClusterNodesServiceProcessorBackup dhcp_enabled firmware_version "
        "ipv4_interface:Ipv4Interface ipv6_interface:Ipv6Interface is_ip_configured last_update_state link_status "
        "mac_address primary:ClusterNodesServiceProcessorPrimary ssh_info:ClusterNodesServiceProcessorSshInfo state "
        "type web_service:ClusterNodesServiceProcessorWebService "
    ),
    "Shelf": (
        "acps:ShelfAcps bays:ShelfBays connection_type current_sensors:ShelfCurrentSensors disk_count "
        "drawers:ShelfDrawers errors:ShelfErrors fans:ShelfFans frus:ShelfFrus id internal local location_led "
        "manufacturer:ShelfManufacturer model module_type name paths:StoragePort ports:ShelfPorts raw_capacity "
        "serial_number state temperature_sensors:ShelfTemperatureSensors uid vendor:ShelfVendor "
        "voltage_sensors:ShelfVoltageSensors "
    ),
    "ShelfAcps": "address channel connection_state enabled error:ShelfAcpsError netmask node:Node port subnet",
    "ShelfAcpsError": "reason:Error severity type",
    "ShelfBays": "drawer:ShelfBaysDrawer has_disk id state type",
    "ShelfBaysDrawer": "id slot",
    "ShelfCurrentSensors": "current id installed location state",
    "ShelfDrawers": "closed disk_count error id part_number serial_number state",
    "ShelfErrors": "reason:Error",
    "ShelfFans": "id installed location rpm state",
    "ShelfFrus": "firmware_version id installed part_number psu:ShelfFrusPsu serial_number state type",
    "ShelfFrusPsu": "crest_factor model power_drawn power_rating",
    "ShelfManufacturer": "name",
    "ShelfPorts": (
        "cable:ShelfPortsCable designator id internal mac_address module_id remote:ShelfPortsRemote speed state wwn"
    ),
    "ShelfPortsCable": "identifier length part_number serial_number",
    "ShelfPortsRemote": "chassis device mac_address phy port wwn",
    "ShelfTemperatureSensors": (
        "ambient id installed location state temperature threshold:ShelfTemperatureSensorsThreshold"
    ),
    "ShelfTemperatureSensorsThreshold": (
        "high:ShelfTemperatureSensorsThresholdHigh low:ShelfTemperatureSensorsThresholdLow"
    ),
    "ShelfTemperatureSensorsThresholdHigh": "critical warning",
    "ShelfTemperatureSensorsThresholdLow": "critical warning",
    "ShelfVendor": "manufacturer name part_number product serial_number",
    "ShelfVoltageSensors": "id installed location state voltage",
    "SnapshotPolicy": "_links:SelfLink comment copies:SnapshotPolicyCopies enabled name scope svm:Svm uuid",
    "SnapshotPolicyCopies": "count prefix retention_period schedule:Schedule snapmirror_label",
    "SoftwareDataEncryption": "conversion_enabled disabled_by_default encryption_state rekey",
    "SpaceEfficiency": "logical_used ratio savings",
    "StorageAvailabilityZone": (
        "_links:SelfLink name nodes:NodeResponseRecordsHaPartners space:StorageAvailabilityZoneSpace uuid"
    ),
    "StorageAvailabilityZoneSpace": (
        "available delayed_frees efficiency_without_snapshots:StorageAvailabilityZoneSpaceEfficiencyWithoutSnapshots "
        "full_threshold_percent inactive_data log_and_recovery_metadata logical_user_data_without_snapshots "
        "nearly_full_threshold_percent physical_used physical_used_percent physical_user_data_without_snapshots size "
        "total_metadata_used unusable "
    ),
    "StorageAvailabilityZoneSpaceEfficiencyWithoutSnapshots": "ratio savings",
    "StoragePool": "_links:SelfLink capacity:StoragePoolCapacity health:PoolHealth name nodes:Node storage_type uuid",
    "StoragePoolCapacity": (
        "disk_count disks:StoragePoolDisk remaining spare_allocation_units:StoragePoolSpareAllocationUnit total "
        "used_allocation_units:StoragePoolUsedAllocationUnit "
    ),
    "StoragePoolDisk": "disk:Disk total_size usable_size",
    "StoragePoolSpareAllocationUnit": "available_size count node:Node size syncmirror_pool",
    "StoragePoolUsedAllocationUnit": "aggregate:Aggregate count current_usage node:Node",
    "StoragePort": (
        "board_name cable:StoragePortCable description enabled error:StoragePortError firmware_version force in_use "
        "mac_address mode name node:Node part_number redundant serial_number speed state type wwn wwpn "
    ),
    "StoragePortCable": "identifier length part_number serial_number transceiver vendor",
    "StoragePortError": "corrective_action message",
    "SubjectAlternateName": "dns email ip uri",
    "Svm": (
        "_links:SelfLink aggregates:SvmAggregates aggregates_delegated anti_ransomware:ArwVserver "
        "anti_ransomware_auto_switch_duration_without_new_file_extension "
        "anti_ransomware_auto_switch_from_learning_to_enabled anti_ransomware_auto_switch_minimum_file_count "
        "anti_ransomware_auto_switch_minimum_file_extension anti_ransomware_auto_switch_minimum_incoming_data "
        "anti_ransomware_auto_switch_minimum_learning_period anti_ransomware_default_volume_state "
        "anti_ransomware_incoming_write_threshold anti_ransomware_incoming_write_threshold_percent "
        "auto_enable_activity_tracking auto_enable_analytics certificate:SecurityCertificate cifs:SvmCifsService "
        "comment dns:SvmDns fc_interfaces:FcInterfaceSvm fcp:SvmFcp ip_interfaces:IpInterfaceSvm ipspace:Ipspace "
        "is_space_enforcement_logical is_space_reporting_logical iscsi:SvmIscsi language ldap:SvmLdap max_volumes name "
        "ndmp:SvmNdmp nfs:SvmNfs nis:SvmNis nsswitch:SvmNsswitch number_of_volumes_in_recovery_queue nvme:SvmNvme "
        "qos_adaptive_policy_group_template:QosPolicy qos_policy:QosPolicy qos_policy_group_template:QosPolicy "
        "routes:NetworkRouteForSvm s3:SvmS3Service san_multipathing snapmirror:SvmSnapmirror "
        "snapshot_autodelete_enabled snapshot_policy:SnapshotPolicy snapshot_reserve_percent state storage:SvmStorage "
        "subtype total_volume_size_in_recovery_queue uuid "
    ),
    "SvmAggregates": "_links:SelfLink available_size name snaplock_type state type uuid",
    "SvmCifsService": (
        "_links:SelfLink ad_domain:AdDomainSvm allowed auth-style domain_workgroup enabled name workgroup"
    ),
    "SvmDns": "_links:SelfLink domains servers",
    "SvmFcp": "_links:SelfLink allowed enabled",
    "SvmIscsi": "_links:SelfLink allowed enabled",
    "SvmLdap": "ad_domain base_dn bind_dn enabled restrict_discovery_to_site servers",
    "SvmNdmp": "allowed",
    "SvmNfs": "_links:SelfLink allowed enabled",
    "SvmNis": "_links:SelfLink domain enabled servers",
    "SvmNsswitch": "group hosts namemap netgroup passwd",
    "SvmNvme": "_links:SelfLink allowed enabled",
    "SvmS3Service": (
        "_links:SelfLink allowed certificate:SecurityCertificate default_unix_user default_win_user enabled "
        "is_http_enabled is_https_enabled name port secure_port "
    ),
    "SvmSnapmirror": "is_protected protected_consistency_group_count protected_volumes_count protection_type",
    "SvmStorage": "allocated available limit limit_threshold_alert limit_threshold_exceeded used_percentage",
    "TimezoneCluster": "name",
    "Tls": "cipher_suites offload_enabled protocol_versions",
    "Version": "full generation major minor",
    "VolumeEncryptionSupport": "code message supported",
}
