#!/bin/sh
# An aarch64 machine with Python and the runtimes, emulated by qemu-user, in a folder of its own.
#
#     tools/emulate_arm64.sh build/arm64
#     tools/emulate_arm64.sh build/arm64-3.13 3.13      as in Raspberry Pi OS since Debian 13
#     build/arm64/python kit/edge_model.py --self-test
#     build/arm64/count cortex-a53 program.py      prints instructions at each os.getppid()
#
# GUEST_PATH is put behind the packages of Python: edgevit itself, where that is to run there.
# Debian's packages and wheels are unpacked into the folder; nothing is installed on this machine.
# The processor is a Cortex-A76, as in a Raspberry Pi 5. Emulated time means nothing.
set -eu
folder=${1:?usage: emulate_arm64.sh FOLDER [3.11|3.13]}
version=${2:-3.11}
case $version in
    3.11) suite=bookworm libraries="libssl3 libreadline8 libdb5.3" ;;
    3.13) suite=trixie libraries="libssl3t64 libreadline8t64 libdb5.3t64" ;;
    *) echo "Debian has Python 3.11 (bookworm) and 3.13 (trixie), not $version" >&2; exit 2 ;;
esac
here=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "${PYTHON:-python3}")
case $python in /*) ;; *) python=$PWD/$python ;; esac
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
[ -e "$folder/ready" ] && exit 0
apt="$folder/apt"
mkdir -p "$apt/etc" "$apt/lists/partial" "$apt/cache/archives/partial" "$folder/debs" "$folder/root/proc"
: > "$apt/status"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main" > "$apt/etc/sources.list"
options="-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State=$apt -o Dir::State::lists=$apt/lists
    -o Dir::State::status=$apt/status -o Dir::Cache=$apt/cache -o Dir::Etc::SourceList=$apt/etc/sources.list
    -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root"
apt-get $options update
cd "$folder/debs"
apt-get $options download libc6 libgcc-s1 libstdc++6 libgomp1 \
    "python$version" "python$version-minimal" "libpython$version-minimal" "libpython$version-stdlib" \
    libexpat1 zlib1g libffi8 libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libncursesw6 libtinfo6 libcrypt1 \
    media-types $libraries
here_packages="qemu-user-static qemu-user libcapstone4 liburing2"
apt-get -qq download $here_packages 2>/dev/null || { apt-get -qq update && apt-get -qq download $here_packages; }
for package in *_arm64.deb *_all.deb; do dpkg-deb -x "$package" "$folder/root"; done
[ -e "$folder/root/lib" ] || ln -s usr/lib "$folder/root/lib"  # of the base system since Debian 13
mkdir -p "$folder/host"
for package in *_amd64.deb; do dpkg-deb -x "$package" "$folder/host"; done
# Both runtimes ask the system which processor this is, and stop where it does not say an Arm one.
describe_processor() { # features, part
    for core in 0 1 2 3; do
        printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: %s\nCPU revision\t: 1\n\n' $core "$1" "$2"
    done
}
common="fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
cp -al "$folder/root" "$folder/root-cortex-a53"
ln -s root "$folder/root-cortex-a76"
describe_processor "$common" 0xd03 > "$folder/root-cortex-a53/proc/cpuinfo"
describe_processor "$common atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp" 0xd0b > "$folder/root/proc/cpuinfo"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$folder/wheels" \
    --python-version "$version" --implementation cp --abi "cp${version%.*}${version#*.}" --abi abi3 --abi none \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
    --platform manylinux2014_aarch64 --platform any \
    --constraint "$here/constraints.txt" \
    numpy pillow ai-edge-litert onnxruntime backports.strenum flatbuffers protobuf tqdm typing_extensions \
    click markdown-it-py mdurl msgspec pygments rich
mkdir -p "$folder/site"
for wheel in "$folder"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$folder/site"; done
cat > "$folder/python" <<END
#!/bin/sh
PYTHONPATH=$folder/site\${GUEST_PATH:+:\$GUEST_PATH} OMP_NUM_THREADS=1 exec $folder/host/usr/bin/qemu-aarch64-static -cpu cortex-a76 \\
    -L $folder/root $folder/root/usr/bin/python$version "\$@"
END
cat > "$folder/count" <<END
#!/bin/sh
processor=\$1; shift
export LD_LIBRARY_PATH=$folder/host/usr/lib/x86_64-linux-gnu:$folder/host/lib/x86_64-linux-gnu OMP_NUM_THREADS=1
plugin="-U LD_LIBRARY_PATH -plugin $folder/count.so"
if [ "\$processor" = x86-64 ]; then
    PYTHONPATH=\$GUEST_PATH exec $folder/host/usr/bin/qemu-x86_64 \$plugin,at=110 -cpu max $python "\$@"
fi
PYTHONPATH=$folder/site\${GUEST_PATH:+:\$GUEST_PATH} exec $folder/host/usr/bin/qemu-aarch64 \$plugin,at=173 -cpu "\$processor" \\
    -L "$folder/root-\$processor" "$folder/root/usr/bin/python$version" "\$@"
END
gcc -O2 -shared -fPIC "$here/tools/count_instructions.c" -o "$folder/count.so"
chmod +x "$folder/python" "$folder/count"
touch "$folder/ready"
