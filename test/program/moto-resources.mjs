// How each resource that a stack in AWS has is made and ended by AWS's own interfaces, for the stand-in of Pulumi's plugin:
// one entry per type, requests against moto. What moto does not look at is left out; nothing of it runs outside of tests.

const REGION = "eu-central-1";
/** moto's only one. */
export const ACCOUNT = "123456789012";
const url = () => process.env.HOTPAIR_TEST_AWS;

/** moto finds the service by the credential's scope and, with nobody's rights judged, looks at no more of it. */
const scope = (service) =>
  `AWS4-HMAC-SHA256 Credential=test/20260101/${REGION}/${service}/aws4_request, SignedHeaders=host, Signature=0`;

async function request(service, method, path, body, type = "application/x-www-form-urlencoded", more = {}) {
  const headers = { authorization: scope(service), "content-type": type, "x-amz-date": "20260101T000000Z", ...more };
  const answer = await fetch(`${url()}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${service} ${method} ${path}: ${answer.status} ${text.slice(0, 500)}`);
  return text;
}

/** Lists and structures as the query interfaces number them: `A.1.B=…`. */
function flat(value, prefix) {
  if (value === undefined) return [];
  if (Array.isArray(value)) return value.flatMap((item, index) => flat(item, `${prefix}.${index + 1}`));
  if (typeof value === "object")
    return Object.entries(value).flatMap(([key, inner]) => flat(inner, prefix === "" ? key : `${prefix}.${key}`));
  return [[prefix, String(value)]];
}

/** AWS Backup, which takes and says JSON. */
const backup = async (method, path, body) =>
  JSON.parse((await request("backup", method, path, body && JSON.stringify(body), "application/json")) || "{}");

/** AWS Budgets, which finds the action by a header. */
const budgets = (action, parameters) =>
  request("budgets", "POST", "/", JSON.stringify(parameters), "application/x-amz-json-1.1", {
    "x-amz-target": `AWSBudgetServiceGateway.${action}`,
  });

const VERSIONS = { ec2: "2016-11-15", iam: "2010-05-08", monitoring: "2010-08-01" };
const query = (service, Action, parameters) =>
  request(service, "POST", "/", new URLSearchParams(flat({ Action, Version: VERSIONS[service], ...parameters }, "")));
const ec2 = (action, parameters) => query("ec2", action, parameters);
const iam = (action, parameters) => query("iam", action, parameters);

/** With resources of the stack's own hosted zone: Route 53 takes XML, and is one for the whole world. */
const records = (zone, method, query = "", body = undefined) =>
  request("route53", method, `/2013-04-01/hostedzone/${zone}/rrset${query}`, body, "application/xml");
const recordChange = (action, { name, type, ttl, records: values }) => {
  const listed = values.map((value) => `<ResourceRecord><Value>${value}</Value></ResourceRecord>`).join("");
  const set = `<Name>${name}</Name><Type>${type}</Type><TTL>${ttl}</TTL><ResourceRecords>${listed}</ResourceRecords>`;
  const change = `<Change><Action>${action}</Action><ResourceRecordSet>${set}</ResourceRecordSet></Change>`;
  return `<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes>${change}</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>`;
};

/** All elements of this name. */
const all = (answer, name) => [...answer.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].map(([, one]) => one);
/** The first element of this name. */
const said = (answer, name) => new RegExp(`<${name}>([^<]*)</${name}>`).exec(answer)?.[1];

const named = (tags = {}) => Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
const tagged = (ResourceType, tags) => [{ ResourceType, Tag: named(tags) }];

/** AWS's own rule for the descriptions of groups and rules (Amazon EC2 API reference, IpRange), which moto does not have. */
const described = (text) => {
  if (/^[a-zA-Z0-9. _\-:/()#,@[\]+=&;{}!$*]{0,255}$/.test(text ?? "")) return text;
  throw new Error(`Invalid rule description: ${text}`);
};

const permission = ({ ipProtocol, fromPort, toPort, cidrIpv4, referencedSecurityGroupId, description }) => [
  {
    IpProtocol: ipProtocol,
    // moto wants numbers from protocols that know no ports, too.
    FromPort: fromPort ?? -1,
    ToPort: toPort ?? -1,
    IpRanges: cidrIpv4 === undefined ? undefined : [{ CidrIp: cidrIpv4, Description: described(description) }],
    Groups:
      referencedSecurityGroupId === undefined
        ? undefined
        : [{ GroupId: referencedSecurityGroupId, Description: described(description) }],
  },
];

const rule = (direction) => ({
  make: async (_, inputs) => ({
    id: said(
      await ec2(`AuthorizeSecurityGroup${direction}`, {
        GroupId: inputs.securityGroupId,
        IpPermissions: permission(inputs),
        TagSpecification: tagged("security-group-rule", inputs.tags),
      }),
      "securityGroupRuleId",
    ),
  }),
  end: (id, { securityGroupId }) =>
    ec2(`RevokeSecurityGroup${direction}`, { GroupId: securityGroupId, SecurityGroupRuleId: [id] }),
  there: async (id) => (await ec2("DescribeSecurityGroupRules", { SecurityGroupRuleId: [id] })).includes(id),
});

/** One of the settings of a bucket: what it is told. It goes with the bucket. */
const ofBucket = (part, body) => ({
  make: async (_, { bucket, ...inputs }) => {
    await request("s3", "PUT", `/${bucket}?${part}`, body(inputs), "application/xml");
    return { id: bucket };
  },
  end: async () => {},
});

const addressesOf = (name, value) => ec2("DescribeAddresses", { Filter: [{ Name: name, Value: [value] }] });

/** `now`: what the plugin would read of it that may have changed; undefined: it is as it was made. */
export const RESOURCES = {
  Vpc: {
    make: async (_, { cidrBlock, tags }) => ({
      id: said(await ec2("CreateVpc", { CidrBlock: cidrBlock, TagSpecification: tagged("vpc", tags) }), "vpcId"),
    }),
    end: (id) => ec2("DeleteVpc", { VpcId: id }),
  },
  DefaultSecurityGroup: {
    make: async (_, { vpcId }) => {
      const filters = { "vpc-id": vpcId, "group-name": "default" };
      const Filter = Object.entries(filters).map(([Name, value]) => ({ Name, Value: [value] }));
      return { id: said(await ec2("DescribeSecurityGroups", { Filter }), "groupId") };
    },
    end: async () => {},
  },
  InternetGateway: {
    make: async (_, { vpcId, tags }) => {
      const made = await ec2("CreateInternetGateway", { TagSpecification: tagged("internet-gateway", tags) });
      const id = said(made, "internetGatewayId");
      await ec2("AttachInternetGateway", { InternetGatewayId: id, VpcId: vpcId });
      return { id };
    },
    end: async (id, { vpcId }) => {
      await ec2("DetachInternetGateway", { InternetGatewayId: id, VpcId: vpcId });
      await ec2("DeleteInternetGateway", { InternetGatewayId: id });
    },
  },
  RouteTable: {
    make: async (_, { vpcId, tags }) => ({
      id: said(
        await ec2("CreateRouteTable", { VpcId: vpcId, TagSpecification: tagged("route-table", tags) }),
        "routeTableId",
      ),
    }),
    end: (id) => ec2("DeleteRouteTable", { RouteTableId: id }),
  },
  Route: {
    make: async (_, { routeTableId, destinationCidrBlock, gatewayId, networkInterfaceId }) => {
      await ec2("CreateRoute", {
        RouteTableId: routeTableId,
        DestinationCidrBlock: destinationCidrBlock,
        GatewayId: gatewayId,
        NetworkInterfaceId: networkInterfaceId,
      });
      return { id: `${routeTableId}_${destinationCidrBlock}` };
    },
    end: (_, { routeTableId, destinationCidrBlock }) =>
      ec2("DeleteRoute", { RouteTableId: routeTableId, DestinationCidrBlock: destinationCidrBlock }),
    now: async (_, { routeTableId, destinationCidrBlock }) => {
      const tables = await ec2("DescribeRouteTables", { RouteTableId: [routeTableId] });
      const route = tables.split("<item>").find((item) => item.includes(`>${destinationCidrBlock}<`)) ?? "";
      return { networkInterfaceId: said(route, "networkInterfaceId") };
    },
  },
  Subnet: {
    make: async (_, { vpcId, cidrBlock, availabilityZone, tags }) => ({
      id: said(
        await ec2("CreateSubnet", {
          VpcId: vpcId,
          CidrBlock: cidrBlock,
          AvailabilityZone: availabilityZone,
          TagSpecification: tagged("subnet", tags),
        }),
        "subnetId",
      ),
    }),
    end: (id) => ec2("DeleteSubnet", { SubnetId: id }),
  },
  RouteTableAssociation: {
    make: async (_, { subnetId, routeTableId }) => ({
      id: said(await ec2("AssociateRouteTable", { SubnetId: subnetId, RouteTableId: routeTableId }), "associationId"),
    }),
    end: (id) => ec2("DisassociateRouteTable", { AssociationId: id }),
  },
  SecurityGroup: {
    make: async (name, { vpcId, description, tags }) => {
      const made = await ec2("CreateSecurityGroup", {
        GroupName: name,
        GroupDescription: described(description),
        VpcId: vpcId,
        TagSpecification: tagged("security-group", tags),
      });
      const id = said(made, "groupId");
      // As the plugin does: a group starts with a way out of AWS's own.
      const everything = [{ IpProtocol: "-1", IpRanges: [{ CidrIp: "0.0.0.0/0" }] }];
      await ec2("RevokeSecurityGroupEgress", { GroupId: id, IpPermissions: everything });
      return { id };
    },
    end: (id) => ec2("DeleteSecurityGroup", { GroupId: id }),
  },
  SecurityGroupIngressRule: rule("Ingress"),
  SecurityGroupEgressRule: rule("Egress"),
  NetworkInterface: {
    make: async (_, { subnetId, privateIps, privateIpLists, securityGroups, description, sourceDestCheck, tags }) => {
      // To the plugin they are a set.
      if (privateIps?.length > 1) throw new Error(`which one of ${privateIps} is the first address is not said`);
      const addresses = privateIpLists ?? privateIps;
      const made = await ec2("CreateNetworkInterface", {
        SubnetId: subnetId,
        PrivateIpAddresses: addresses.map((address, index) => ({ PrivateIpAddress: address, Primary: index === 0 })),
        SecurityGroupId: securityGroups,
        Description: description,
        TagSpecification: tagged("network-interface", tags),
      });
      const id = said(made, "networkInterfaceId");
      await ec2("ModifyNetworkInterfaceAttribute", {
        NetworkInterfaceId: id,
        SourceDestCheck: { Value: sourceDestCheck },
      });
      return { id, macAddress: said(made, "macAddress") };
    },
    end: async (id) => {
      // Deleted, it lets go of its Elastic IPs (Amazon EC2 user guide, network interfaces). moto's does not.
      for (const association of all(await addressesOf("network-interface-id", id), "associationId"))
        await ec2("DisassociateAddress", { AssociationId: association });
      await ec2("DeleteNetworkInterface", { NetworkInterfaceId: id });
    },
    now: async (id) => {
      const shown = await ec2("DescribeNetworkInterfaces", { NetworkInterfaceId: [id] });
      const [, addresses = ""] = /<privateIpAddressesSet>(.*?)<\/privateIpAddressesSet>/s.exec(shown) ?? [];
      const found = all(addresses, "privateIpAddress");
      return { privateIps: found, privateIpLists: found };
    },
    arn: (id) => `network-interface/${id}`,
  },
  NetworkInterfaceAttachment: {
    make: async (_, { instanceId, networkInterfaceId, deviceIndex }) => ({
      id: said(
        await ec2("AttachNetworkInterface", {
          InstanceId: instanceId,
          NetworkInterfaceId: networkInterfaceId,
          DeviceIndex: deviceIndex,
        }),
        "attachmentId",
      ),
    }),
    end: (id) => ec2("DetachNetworkInterface", { AttachmentId: id }),
  },
  Eip: {
    make: async (_, { domain, tags }) => {
      const made = await ec2("AllocateAddress", { Domain: domain, TagSpecification: tagged("elastic-ip", tags) });
      return { id: said(made, "allocationId") };
    },
    // As the plugin does it: what it knows of its association ends first, and an address that is in use is not released
    // (Amazon EC2 API reference, ReleaseAddress). moto's is.
    end: async (id, { associationId }) => {
      if (associationId !== undefined)
        await ec2("DisassociateAddress", { AssociationId: associationId }).catch((error) => {
          // It went with its interface.
          if (!String(error).includes("InvalidAssociationID.NotFound")) throw error;
        });
      if (said(await addressesOf("allocation-id", id), "associationId") !== undefined)
        throw new Error(`ReleaseAddress: InvalidIPAddress.InUse: ${id}`);
      await ec2("ReleaseAddress", { AllocationId: id });
    },
    now: async (id) => {
      const address = await addressesOf("allocation-id", id);
      return { associationId: said(address, "associationId"), networkInterface: said(address, "networkInterfaceId") };
    },
    arn: (id) => `elastic-ip/${id}`,
  },
  EipAssociation: {
    make: async (_, { allocationId, networkInterfaceId, privateIpAddress }) => ({
      id: said(
        await ec2("AssociateAddress", {
          AllocationId: allocationId,
          NetworkInterfaceId: networkInterfaceId,
          PrivateIpAddress: privateIpAddress,
        }),
        "associationId",
      ),
    }),
    end: (id) => ec2("DisassociateAddress", { AssociationId: id }),
  },
  // moto knows none.
  PlacementGroup: { make: async (name) => ({ id: name, name }), end: async () => {} },
  Record: {
    make: async (_, { zoneId, ...inputs }) => {
      await records(zoneId, "POST", "/", recordChange("CREATE", inputs));
      return { id: `${zoneId}_${inputs.name}_${inputs.type}` };
    },
    // Only what it says now can be taken away, whoever wrote that.
    end: async (id, inputs) =>
      records(
        inputs.zoneId,
        "POST",
        "/",
        recordChange("DELETE", { ...inputs, ...(await RESOURCES.Record.now(id, inputs)) }),
      ),
    now: async (_, { zoneId, name, type }) => {
      const set = (await records(zoneId, "GET"))
        .split("<ResourceRecordSet>")
        .find((one) => one.includes(`<Name>${name}.</Name>`) && one.includes(`<Type>${type}</Type>`));
      return { ttl: Number(said(set ?? "", "TTL")), records: all(set ?? "", "Value") };
    },
  },
  KeyPair: {
    make: async (name, { publicKey, tags }) => {
      await ec2("ImportKeyPair", {
        KeyName: name,
        PublicKeyMaterial: Buffer.from(publicKey).toString("base64"),
        TagSpecification: tagged("key-pair", tags),
      });
      return { id: name, keyName: name };
    },
    end: (id) => ec2("DeleteKeyPair", { KeyName: id }),
  },
  Role: {
    make: async (name, { assumeRolePolicy, description, tags }) => {
      await iam("CreateRole", {
        RoleName: name,
        AssumeRolePolicyDocument: assumeRolePolicy,
        Description: description,
        Tags: { member: named(tags) },
      });
      return { id: name, name };
    },
    end: (id) => iam("DeleteRole", { RoleName: id }),
  },
  InstanceProfile: {
    make: async (name, { role }) => {
      await iam("CreateInstanceProfile", { InstanceProfileName: name });
      await iam("AddRoleToInstanceProfile", { InstanceProfileName: name, RoleName: role });
      return { id: name, name };
    },
    end: async (id, { role }) => {
      await iam("RemoveRoleFromInstanceProfile", { InstanceProfileName: id, RoleName: role });
      await iam("DeleteInstanceProfile", { InstanceProfileName: id });
    },
  },
  RolePolicy: {
    make: async (name, { role, policy }) => {
      await iam("PutRolePolicy", { RoleName: role, PolicyName: name, PolicyDocument: policy });
      return { id: `${role}:${name}` };
    },
    end: (id, { role }) => iam("DeleteRolePolicy", { RoleName: role, PolicyName: id.split(":")[1] }),
  },
  Instance: {
    make: async (_, inputs) => {
      const made = await ec2("RunInstances", {
        ImageId: inputs.ami,
        InstanceType: inputs.instanceType,
        MinCount: 1,
        MaxCount: 1,
        KeyName: inputs.keyName,
        NetworkInterface: [{ DeviceIndex: 0, NetworkInterfaceId: inputs.primaryNetworkInterface.networkInterfaceId }],
        IamInstanceProfile: inputs.iamInstanceProfile === undefined ? undefined : { Name: inputs.iamInstanceProfile },
        UserData: Buffer.from(inputs.userData).toString("base64"),
        MetadataOptions: { HttpTokens: inputs.metadataOptions.httpTokens },
        DisableApiTermination: inputs.disableApiTermination,
        TagSpecification: tagged("instance", inputs.tags),
      });
      return { id: said(made, "instanceId") };
    },
    // Of what can be changed, what does not stop it.
    change: async (id, changed, { disableApiTermination }) => {
      if (changed.join() !== "disableApiTermination")
        throw new Error(`${id}: ${changed} is changed on a server that runs`);
      await ec2("ModifyInstanceAttribute", { InstanceId: id, DisableApiTermination: { Value: disableApiTermination } });
    },
    end: (id) => ec2("TerminateInstances", { InstanceId: [id] }),
    arn: (id) => `instance/${id}`,
    there: async (id) => said(await ec2("DescribeInstances", { InstanceId: [id] }), "name") !== "terminated",
  },
  MetricAlarm: {
    make: async (name, inputs) => {
      await query("monitoring", "PutMetricAlarm", {
        AlarmName: name,
        AlarmDescription: inputs.alarmDescription,
        AlarmActions: { member: inputs.alarmActions },
        Namespace: inputs.namespace,
        MetricName: inputs.metricName,
        Dimensions: { member: Object.entries(inputs.dimensions).map(([Name, Value]) => ({ Name, Value })) },
        Statistic: inputs.statistic,
        Period: inputs.period,
        EvaluationPeriods: inputs.evaluationPeriods,
        Threshold: inputs.threshold,
        ComparisonOperator: inputs.comparisonOperator,
      });
      return { id: name };
    },
    // The same call, under the same name.
    change: (id, _changed, inputs) => RESOURCES.MetricAlarm.make(id, inputs),
    end: (id) => query("monitoring", "DeleteAlarms", { AlarmNames: { member: [id] } }),
  },
  Bucket: {
    make: async (_, { bucket }) => {
      const place = `<CreateBucketConfiguration><LocationConstraint>${REGION}</LocationConstraint></CreateBucketConfiguration>`;
      await request("s3", "PUT", `/${bucket}`, place, "application/xml");
      return { id: bucket };
    },
    end: (id) => request("s3", "DELETE", `/${id}`),
  },
  BucketVersioning: ofBucket(
    "versioning",
    ({ versioningConfiguration }) =>
      `<VersioningConfiguration><Status>${versioningConfiguration.status}</Status></VersioningConfiguration>`,
  ),
  BucketServerSideEncryptionConfiguration: ofBucket("encryption", ({ rules }) => {
    const [{ applyServerSideEncryptionByDefault: by }] = rules;
    return `<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>${by.sseAlgorithm}</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`;
  }),
  BucketPublicAccessBlock: ofBucket("publicAccessBlock", (inputs) => {
    const names = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    const settings = names.map((name) => `<${name}>${inputs[name[0].toLowerCase() + name.slice(1)]}</${name}>`);
    return `<PublicAccessBlockConfiguration>${settings.join("")}</PublicAccessBlockConfiguration>`;
  }),
  BucketObjectLockConfiguration: ofBucket("object-lock", ({ rule: { defaultRetention } }) => {
    const { mode, days } = defaultRetention;
    return `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>${mode}</Mode><Days>${days}</Days></DefaultRetention></Rule></ObjectLockConfiguration>`;
  }),
  BucketLifecycleConfiguration: ofBucket("lifecycle", ({ rules }) => {
    const one = ({ id, status, transitions }) =>
      `<Rule><ID>${id}</ID><Status>${status}</Status><Filter><Prefix></Prefix></Filter>${transitions
        .map(
          ({ storageClass, days }) =>
            `<Transition><Days>${days}</Days><StorageClass>${storageClass}</StorageClass></Transition>`,
        )
        .join("")}</Rule>`;
    return `<LifecycleConfiguration>${rules.map(one).join("")}</LifecycleConfiguration>`;
  }),
  Vault: {
    make: async (name, { tags }) => {
      await backup("PUT", `/backup-vaults/${name}`, { BackupVaultTags: tags });
      return { id: name, name };
    },
    end: (id) => backup("DELETE", `/backup-vaults/${id}`),
  },
  Plan: {
    make: async (name, { rules, tags }) => {
      const Rules = rules.map((rule) => ({
        RuleName: rule.ruleName,
        TargetBackupVaultName: rule.targetVaultName,
        ScheduleExpression: rule.schedule,
        StartWindowMinutes: rule.startWindow,
        CompletionWindowMinutes: rule.completionWindow,
        Lifecycle: { DeleteAfterDays: rule.lifecycle.deleteAfter },
      }));
      const made = await backup("PUT", "/backup/plans/", {
        BackupPlan: { BackupPlanName: name, Rules },
        BackupPlanTags: tags,
      });
      return { id: made.BackupPlanId };
    },
    end: (id) => backup("DELETE", `/backup/plans/${id}`),
  },
  // moto knows none; what it would select must be there.
  Selection: {
    make: async (name, { planId, resources }) => {
      await backup("GET", `/backup/plans/${planId}`);
      await ec2("DescribeInstances", { InstanceId: resources.map((arn) => arn.split("/")[1]) });
      return { id: name };
    },
    end: async () => {},
  },
  Budget: {
    make: async (name, { budgetType, timeUnit, limitAmount, limitUnit, costFilters, notifications }) => {
      const NotificationsWithSubscribers = notifications.map((one) => ({
        Notification: {
          NotificationType: one.notificationType,
          ComparisonOperator: one.comparisonOperator,
          Threshold: one.threshold,
          ThresholdType: one.thresholdType,
        },
        Subscribers: one.subscriberEmailAddresses.map((Address) => ({ SubscriptionType: "EMAIL", Address })),
      }));
      const Budget = {
        BudgetName: name,
        BudgetType: budgetType,
        TimeUnit: timeUnit,
        BudgetLimit: { Amount: limitAmount, Unit: limitUnit },
        CostFilters: Object.fromEntries(costFilters.map(({ name: filter, values }) => [filter, values])),
      };
      await budgets("CreateBudget", { AccountId: ACCOUNT, Budget, NotificationsWithSubscribers });
      return { id: `${ACCOUNT}:${name}` };
    },
    end: (id) => budgets("DeleteBudget", { AccountId: ACCOUNT, BudgetName: id.split(":")[1] }),
  },
};

/** An image that moto has: it knows nothing of Debian 13. */
export async function anImage() {
  return said(await ec2("DescribeImages", { Owner: ["amazon"] }), "imageId");
}
