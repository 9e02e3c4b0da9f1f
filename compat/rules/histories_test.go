package rules

// fault is what one series of the healthy history does from minute 60 on, in the notation of
// promqltest.
type fault struct {
	series string
	then   string
}

// faults has at least one history for each alert, on which it fires.
var faults = map[string][][]fault{
	"K8sRelayAbsent":              {{{`k8s_relay_build_info`, `_x120`}}},
	"K8sRelayRestarting":          {{{`process_start_time_seconds`, `2000000000+0x5 2000000300+0x5 2000000600+0x5 2000000900+0x100`}}},
	"K8sRelayReducerDisconnected": {{{`k8s_relay_reducer_connected`, `0+0x120`}}},
	"K8sRelayNoLeader":            {{{`k8s_relay_leader`, `0+0x120`}}},
	"K8sRelayLeaseFailing":        {{{`k8s_relay_leader_lease_failing`, `1+0x120`}}},
	"K8sRelayLeaderChanges":       {{{`k8s_relay_leader_terms_total`, `2+1x120`}}},
	"K8sRelayReducerBehind":       {{{`k8s_relay_reducer_up_to_date`, `0+0x120`}}},
	"K8sRelaySendBufferHigh":      {{{`k8s_relay_reducer_queued_bytes`, `4000000+0x120`}}},
	"K8sRelaySendTimeout":         {{{`k8s_relay_reducer_send_timeouts_total`, `1+0x120`}}},
	"K8sRelayFullResends": {
		{{`k8s_relay_reducer_full_resends_total{reason="connection"}`, `2+1x120`}},
		{{`k8s_relay_reducer_full_resends_total{reason="buffer_full"}`, `1+1x120`}},
	},
	"K8sRelayCapacityExceeded": {{{`k8s_relay_reducer_capacity_exceeded_total`, `1+0x120`}}},
	"K8sRelayStateStale":       {{{`k8s_relay_state_age_seconds`, `60+60x120`}}},
	"K8sRelaySourceNotSynced":  {{{`k8s_relay_source_synced{source="native"}`, `0+0x120`}}},
	"K8sRelayWatchFailing": {
		{{`k8s_relay_watches{resource="pods",state="failing"}`, `1+0x120`}},
		{{`k8s_relay_watches{resource="jobs",state="refused"}`, `1+0x120`}},
	},
	"K8sRelayWatchRestarts": {{{`k8s_relay_watch_restarts_total{resource="pods",reason="cut"}`, `0+2x120`}}},
	"K8sRelayListSlow": {{
		{`k8s_relay_watch_list_seconds_bucket{resource="pods",le="300"}`, `1+1x120`},
		{`k8s_relay_watch_list_seconds_bucket{resource="pods",le="600"}`, `1+1x120`},
		{`k8s_relay_watch_list_seconds_bucket{resource="pods",le="+Inf"}`, `1+1x120`},
	}},
	"K8sRelayEventLagHigh": {{
		{`k8s_relay_event_lag_seconds_bucket{le="10"}`, `100000+2000x120`},
		{`k8s_relay_event_lag_seconds_bucket{le="30"}`, `100000+2000x120`},
		{`k8s_relay_event_lag_seconds_bucket{le="60"}`, `100000+2000x120`},
		{`k8s_relay_event_lag_seconds_bucket{le="300"}`, `100000+2000x120`},
		{`k8s_relay_event_lag_seconds_bucket{le="+Inf"}`, `100000+2000x120`},
	}},
	"K8sRelayDeletesPending":  {{{`k8s_relay_deletes_pending_seconds`, `0+60x120`}}},
	"K8sRelayStreamsDisagree": {{{`k8s_relay_streams_disagreeing`, `1+0x120`}}},
	"K8sRelayStreamsRefused": {
		{{`k8s_relay_collect_streams_refused_total`, `1+1x120`}},
		{{`k8s_relay_collect_connections_refused_total`, `1+1x120`}},
	},
	"K8sRelayInputDropped": {
		{{`k8s_relay_collect_dropped_total{reason="no_uid"}`, `0+1x120`}},
		{{`k8s_relay_watch_dropped_total{reason="too_large"}`, `0+1x120`}},
	},
	"K8sRelayStageNotKept":       {{{`k8s_relay_stage_kept`, `0+0x120`}}},
	"K8sRelayWaitsForWatcher":    {{{`k8s_relay_waiting_for_watcher`, `1+0x120`}}},
	"K8sRelayDivergences":        {{{`k8s_relay_parity_divergences{state="confirmed"}`, `3+0x120`}}},
	"K8sRelayAutopilotSuspended": {{{`k8s_relay_auto_suspended{reason="rollbacks"}`, `1+0x120`}}},
	"K8sRelayDescriptors":        {{{`process_open_fds`, `19000+0x120`}}},
}
