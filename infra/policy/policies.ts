// The list of all policies, in the order in which they are shown. A new rule is one file and one line here.

import type { ResourceValidationPolicy } from "@pulumi/policy";
import { advertInterval } from "./advert-interval.ts";
import { arbiterSilence } from "./arbiter-silence.ts";
import { awsBackupsPresent } from "./aws-backups-present.ts";
import { awsNoDefaultVpc } from "./aws-no-default-vpc.ts";
import { awsSteadyInstances } from "./aws-steady-instances.ts";
import { awsTwoZones } from "./aws-two-zones.ts";
import { downtimeBudget } from "./downtime-budget.ts";
import { drbdDrilled } from "./drbd-drilled.ts";
import { drbdFenced } from "./drbd-fenced.ts";
import { drbdStableDevices } from "./drbd-stable-devices.ts";
import { drbdStopsInTime } from "./drbd-stops-in-time.ts";
import { evidenceFresh } from "./evidence-fresh.ts";
import { evidenceMatches } from "./evidence-matches.ts";
import { evidencePassed } from "./evidence-passed.ts";
import { evidencePresent } from "./evidence-present.ts";
import { evidenceTrusted } from "./evidence-trusted.ts";
import { externalReached } from "./external-reached.ts";
import { fencingAgentsDistinct } from "./fencing-agents-distinct.ts";
import { gratuitousArp } from "./gratuitous-arp.ts";
import { haproxyCheckTimers } from "./haproxy-check-timers.ts";
import { heartbeatOwnNetwork } from "./heartbeat-own-network.ts";
import { heartbeatSecondPath } from "./heartbeat-second-path.ts";
import { hostKeysPinned } from "./host-keys-pinned.ts";
import { journalKept } from "./journal-kept.ts";
import { leaseTiming } from "./lease-timing.ts";
import { listenersDistinct } from "./listeners-distinct.ts";
import { managedNetworks } from "./managed-networks.ts";
import { mariadbCheck } from "./mariadb-check.ts";
import { nfsAcknowledgedKept } from "./nfs-acknowledged-kept.ts";
import { nfsClientsNamed } from "./nfs-clients-named.ts";
import { nfsRootSquashed } from "./nfs-root-squashed.ts";
import { noPlainSecrets } from "./no-plain-secrets.ts";
import { redundancyBudget } from "./redundancy-budget.ts";
import { rpoWithinTarget } from "./rpo-within-target.ts";
import { rtoWithinTarget } from "./rto-within-target.ts";
import { stateHasWitness } from "./state-has-witness.ts";
import { stateOneVip } from "./state-one-vip.ts";
import { statisticsNotPublic } from "./statistics-not-public.ts";
import { threeMembers } from "./three-members.ts";
import { timersAgree } from "./timers-agree.ts";
import { vipOwnershipSafe } from "./vip-ownership-safe.ts";
import { vrrpSkew } from "./vrrp-skew.ts";
import { witnessOwnSite } from "./witness-own-site.ts";

export const policies: readonly ResourceValidationPolicy[] = [
  ...rtoWithinTarget,
  ...rpoWithinTarget,
  ...redundancyBudget,
  ...downtimeBudget,
  ...evidencePresent,
  ...evidencePassed,
  ...evidenceMatches,
  ...evidenceFresh,
  ...evidenceTrusted,
  ...advertInterval,
  ...vrrpSkew,
  ...gratuitousArp,
  ...arbiterSilence,
  ...haproxyCheckTimers,
  ...timersAgree,
  ...heartbeatOwnNetwork,
  ...heartbeatSecondPath,
  ...hostKeysPinned,
  ...noPlainSecrets,
  ...vipOwnershipSafe,
  ...stateHasWitness,
  ...stateOneVip,
  ...witnessOwnSite,
  ...threeMembers,
  ...leaseTiming,
  ...fencingAgentsDistinct,
  ...mariadbCheck,
  ...managedNetworks,
  ...drbdDrilled,
  ...drbdStableDevices,
  ...drbdFenced,
  ...drbdStopsInTime,
  ...nfsClientsNamed,
  ...nfsRootSquashed,
  ...nfsAcknowledgedKept,
  ...statisticsNotPublic,
  ...listenersDistinct,
  ...externalReached,
  ...journalKept,
  ...awsBackupsPresent,
  ...awsNoDefaultVpc,
  ...awsSteadyInstances,
  ...awsTwoZones,
];
