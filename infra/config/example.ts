// A configuration that says everything that can be said: the annotated example is written from it, with each field's
// description from the schema above it. A test holds it complete and valid. Its keys and ciphertexts open nothing.

const HOST_KEYS = [
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINtLcb2a5ZBymEOsVUO27p/g4VDw6SpepxeSWQWiRErO",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOGKNBJIlIppepBxm7kcB+zGBpP9ohu58ZOXuZaXOYfh",
  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8a9JG8fH5HKGmSTKtrwAIUmhcXj5v4ewZWoCfH2wJN",
] as const;
const CIPHERTEXT = { secure: "v1:bm90IGEgc2VjcmV0:bm90IGEgc2VjcmV0LCBvbmx5IGFuIGV4YW1wbGU=" };

export const EXAMPLE = {
  name: "shop",
  target: "onprem",
  networks: {
    public: { prefix: "198.51.100.0/24", gateway: "198.51.100.1" },
    heartbeat: { prefix: "198.18.1.0/24" },
    storage: { prefix: "198.18.2.0/24" },
  },
  nodes: [
    {
      name: "node-a",
      ssh: {
        host: "198.51.100.11",
        port: 22,
        user: "root",
        hostKey: HOST_KEYS[0],
        keyFile: "~/.ssh/id_ed25519",
        jump: { host: "bastion.example.net", port: 22, user: "jump", hostKey: HOST_KEYS[2] },
      },
      networks: {
        public: { interface: "eth0", address: "198.51.100.11/24", mtu: 1500 },
        heartbeat: { interface: "eth1", address: "198.18.1.11/24", mtu: 1500 },
        storage: { interface: "eth2", address: "198.18.2.11/24", mtu: 9000 },
      },
    },
    {
      name: "node-b",
      ssh: { host: "198.51.100.12", hostKey: HOST_KEYS[1], key: CIPHERTEXT },
      networks: {
        public: { interface: "eth0", address: "198.51.100.12/24" },
        heartbeat: { interface: "eth1", address: "198.18.1.12/24" },
        storage: { interface: "eth2", address: "198.18.2.12/24", mtu: 9000 },
      },
    },
  ],
  vips: [
    { name: "web", address: "198.51.100.100/24", preferred: "node-a", mode: "ip", routerId: 51 },
    { name: "api", address: "198.51.100.101/24", preferred: "node-b", routerId: 52 },
  ],
  vrrp: {
    advertInterval: "100ms",
    priority: 253,
    garp: { repeat: 5, delay: "1s", refresh: "10s" },
    notify: "/usr/local/sbin/vip-changed",
    email: { to: ["ops@example.net"], from: "hotpair@example.net", smtpServer: "mail.example.net" },
  },
  arbiter: {
    beaconInterval: "20ms",
    silence: "150ms",
    evidence: "200ms",
    hold: "45s",
    port: 7788,
    serviceDead: "2s",
  },
  haproxy: {
    frontends: [
      { name: "web", bind: "web:443", mode: "http", certificate: "/etc/ssl/private/shop.pem", backend: "pages" },
      { name: "queue", bind: "*:5672", mode: "tcp", backend: "queue" },
    ],
    backends: [
      {
        name: "pages",
        mode: "http",
        algorithm: "leastconn",
        service: "nginx",
        check: {
          path: "/healthz",
          status: 200,
          interval: "250ms",
          fastInterval: "100ms",
          fall: 2,
          rise: 2,
          timeout: "250ms",
        },
        maxconn: 5000,
      },
      { name: "queue", mode: "tcp", servers: [{ name: "queue-1", address: "198.51.100.21", port: 5672 }] },
    ],
    maxconn: 20_000,
    timeouts: { connect: "250ms", client: "30s", server: "30s" },
    stats: { port: 8404 },
  },
  nginx: { port: 8080, healthPath: "/healthz", root: "/srv/www" },
  external: { name: "app", port: 9000, units: ["app.service"] },
  base: { persistentJournal: true, installPackages: true },
  objectives: {
    tier: "standard",
    rto: { default: "10s", "node-power-cut": "1s" },
    rpo: { default: "1s" },
  },
  beaconKey: CIPHERTEXT,
  previousBeaconKey: CIPHERTEXT,
};
