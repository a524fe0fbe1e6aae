/* A plug-in of qemu-user: prints how many instructions the guest has executed, at each call of one
 * of its system calls, whose number is the argument "at".
 *
 *     gcc -O2 -shared -fPIC tools/count_instructions.c -o count.so
 *     qemu-aarch64 -plugin count.so,at=173 ...        (getppid; 110 on x86-64)
 *
 * Declared here is what is used of QEMU's plug-in interface, version 1 (include/qemu/qemu-plugin.h),
 * so that no header is needed.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
typedef uint64_t Id;
struct qemu_plugin_tb;
typedef void (*Translated)(Id, struct qemu_plugin_tb *);
typedef void (*Called)(Id, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                       uint64_t, uint64_t, uint64_t);
enum { ADD_U64 = 0 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(Id, Translated);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern void qemu_plugin_register_vcpu_syscall_cb(Id, Called);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

EXPORT int qemu_plugin_version = 1;
static uint64_t executed;
static int64_t at = -1;

static void translated(Id id, struct qemu_plugin_tb *block) {
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &executed,
                                             qemu_plugin_tb_n_insns(block));
}

static void called(Id id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    if (number == at) fprintf(stderr, "instructions %" PRIu64 "\n", executed);
}

EXPORT int qemu_plugin_install(Id id, const void *info, int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "at=", 3)) at = atoll(argv[i] + 3);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
