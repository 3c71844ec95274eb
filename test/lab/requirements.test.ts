// A machine that cannot run the lab hears everything that is missing at once, each with its remedy.

import { expect, test } from "vitest";
import { type Machine, missingRequirements } from "../../infra/lab/requirements.ts";

const fit: Machine = {
  platform: "linux",
  architecture: "x64",
  uid: 0,
  hasProgram: () => true,
  hasFileSystem: () => true,
  hasDevice: () => true,
};

test("a fit machine hears nothing", () => {
  expect(missingRequirements(fit)).toEqual([]);
  expect(missingRequirements({ ...fit, architecture: "arm64" })).toEqual([]);
});

test("without root", () => {
  expect(missingRequirements({ ...fit, uid: 1000 })).toEqual([
    "user id 1000 is not root; mounts and network namespaces need it: run it with sudo",
  ]);
});

test("without systemd-nspawn", () => {
  expect(missingRequirements({ ...fit, hasProgram: (name) => name !== "systemd-nspawn" })).toEqual([
    "it has no systemd-nspawn: apt-get install systemd-container",
  ]);
});

test("programs of one package are asked for once", () => {
  expect(missingRequirements({ ...fit, hasProgram: (name) => !["nsenter", "unshare"].includes(name) })).toEqual([
    "it has no nsenter, unshare: apt-get install util-linux",
  ]);
});

test("on a foreign architecture", () => {
  expect(missingRequirements({ ...fit, architecture: "riscv64" })).toEqual([
    "its architecture is riscv64; lab hosts run natively and are made for x64 (amd64) and arm64",
  ]);
});

test("on another system nothing else is asked", () => {
  expect(missingRequirements({ ...fit, platform: "darwin", uid: 501 })).toEqual([
    "it runs darwin, and the lab's hosts need a Linux kernel",
  ]);
});

test("what virtual machines need is asked for with them alone", () => {
  const without: Machine = {
    ...fit,
    architecture: "arm64",
    hasProgram: (name) => !["qemu-system-x86_64", "qemu-img"].includes(name),
    hasDevice: (path) => path !== "/dev/net/tun",
  };
  expect(missingRequirements(without)).toEqual([]);
  expect(missingRequirements(fit, { machines: true })).toEqual([]);
  expect(missingRequirements(without, { machines: true })).toEqual([
    "its architecture is arm64, and the lab's virtual machines are made for x64 (amd64) only",
    "it has no qemu-system-x86_64, qemu-img: apt-get install qemu-system-x86 qemu-utils",
    "it has no /dev/net/tun, by which virtual machines are plugged into a network: modprobe tun",
  ]);
});

test("everything at once", () => {
  const bare = { ...fit, uid: 1000, hasProgram: () => false, hasFileSystem: () => false };
  expect(missingRequirements(bare)).toHaveLength(4);
});
