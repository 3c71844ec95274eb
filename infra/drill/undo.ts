// The undo of a fault, armed on the server before the fault: texts only, pure. It is a unit on disk, so that neither the
// death of the operator's machine nor a reboot of the server can keep it from happening.

/** Where an armed undo lives on a server; the directory is gone when it has been done. */
export const DRILL_DIRECTORY = "/var/lib/hotpair/drill";

export interface ArmedUndo {
  /** [a-z0-9-]+, unique per run; names the units. */
  readonly id: string;
  /** What a person reads in `systemctl status` at night. */
  readonly description: string;
  /** POSIX shell; must be idempotent, may run at boot before keepalived, and must start units with `--no-block`. */
  readonly command: string;
  /** Milliseconds from arming to the undo. */
  readonly afterMs: number;
  /**
   * It may not happen before its time, not even at a boot, and is tried again after as long while its command fails: the
   * undo of what a drill needs to the end.
   */
  readonly lasting?: boolean;
}

export const undoUnit = (id: string): string => `hotpair-drill-${id}`;

/** Shell for standard input of `sh -s` on the server; exits 0 once the undo is on disk and its timer runs. */
export function armCommand(undo: ArmedUndo): string {
  const unit = undoUnit(undo.id);
  const directory = `${DRILL_DIRECTORY}/${undo.id}`;
  const units = "/etc/systemd/system";
  return `set -eu
umask 077
mkdir -p ${directory}
cat > ${directory}/undo <<'HOTPAIR_UNDO'
#!/bin/sh
# Undo of a hotpair drill: ${undo.description}
${undo.lasting ? lasting(undo, unit, directory) : undo.command}
# Done: leave nothing behind.
rm -f ${units}/multi-user.target.wants/${unit}.service ${units}/${unit}.timer ${units}/${unit}.service
rm -rf ${directory}
rmdir ${DRILL_DIRECTORY} 2>/dev/null || :
echo "hotpair drill ${undo.id} undone"
HOTPAIR_UNDO
chmod 0700 ${directory}/undo
${undo.lasting ? `echo $(($(date +%s) + ${Math.ceil(undo.afterMs / 1000)})) > ${directory}/not-before` : ":"}
cat > ${units}/${unit}.service <<'HOTPAIR_UNIT'
[Unit]
Description=hotpair drill, undo: ${undo.description}
DefaultDependencies=no
RequiresMountsFor=${DRILL_DIRECTORY}
After=local-fs.target
Before=keepalived.service hotpair-arbiter.service haproxy.service nginx.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh ${directory}/undo
HOTPAIR_UNIT
cat > ${units}/${unit}.timer <<'HOTPAIR_UNIT'
[Unit]
Description=hotpair drill, deadline of the undo: ${undo.description}

[Timer]
OnActiveSec=${undo.afterMs}ms
AccuracySec=10ms
Unit=${unit}.service
HOTPAIR_UNIT
chmod 0644 ${units}/${unit}.service ${units}/${unit}.timer
mkdir -p ${units}/multi-user.target.wants
# A link made by hand instead of systemctl enable: that would reload every unit of an active node.
ln -sf ../${unit}.service ${units}/multi-user.target.wants/${unit}.service
# These files alone: a sync of everything may take half a minute on a busy server.
sync ${directory}/* ${units}/${unit}.service ${units}/${unit}.timer ${directory} ${units} ${units}/multi-user.target.wants
systemctl start ${unit}.timer
`;
}

const lasting = (
  undo: ArmedUndo,
  unit: string,
  directory: string,
): string => `again() { systemctl restart --no-block ${unit}.timer; exit 0; }
[ -e ${directory}/now ] || [ "$(date +%s)" -ge "$(cat ${directory}/not-before)" ] || again
(
set -e
${undo.command}
) || again`;

/** Does the undo now instead of at its deadline, and waits for it. Harmless when it was done already. */
export const undoNowCommand = (id: string): string =>
  `if [ -e ${DRILL_DIRECTORY}/${id} ]; then touch ${DRILL_DIRECTORY}/${id}/now; systemctl stop ${undoUnit(id)}.timer; systemctl start ${undoUnit(id)}.service; fi`;

/** Prints the ids of all undos that are armed on the server, one per line. */
export const armedCommand = `ls -1 ${DRILL_DIRECTORY} 2>/dev/null || :`;
