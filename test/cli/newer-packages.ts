// A source of packages of a lab host's own, with newer versions of what it has: the same files, so that an upgrade to them
// is real in everything but its content.

/** Shell that fills the source anew. `suffix` is added to each version; `change` edits the unpacked package in `tree`. */
export const newerPackages = (suffix: string, names: readonly string[], change = ":"): string => `set -e
mkdir -p /srv/newer && cd /srv/newer && rm -rf ./*
for name in ${names.join(" ")}; do
  dpkg-deb -R /usr/share/hotpair-lab/packages/"$name"_*.deb tree
  sed -i 's/^Version: .*/&${suffix}/' tree/DEBIAN/control
  ${change}
  dpkg-deb -Znone -b tree "$name.deb" >/dev/null
  { dpkg-deb --field "$name.deb"; echo "Filename: ./$name.deb"
    echo "Size: $(stat -c %s "$name.deb")"; echo "SHA256: $(sha256sum "$name.deb" | cut -d ' ' -f 1)"; echo; } >>Packages
  rm -rf tree
done
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/lab
echo 'deb [trusted=yes] file:/srv/newer ./' >/etc/apt/sources.list.d/newer.list`;
