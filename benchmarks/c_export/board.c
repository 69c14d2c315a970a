/* The self-test of an exported net on a Cortex-M4 that QEMU emulates, with counted instructions; with
 * COUNT_SOUND, its front end on a second of noise.
 *
 * With -icount shift=0 an instruction takes a nanosecond, and SysTick runs at 25 MHz: a tick is 40
 * instructions. The linker calls the functions below in place of main and of the step of the net.
 */
#include <stdint.h>
#include <stdio.h>
#include "net.h"
#ifdef COUNT_SOUND
#include "net_front_end.h"
#endif

#define CONTROL (*(volatile uint32_t *)0xE000E010)
#define RELOAD (*(volatile uint32_t *)0xE000E014)
#define CURRENT (*(volatile uint32_t *)0xE000E018)
#define COPROCESSORS (*(volatile uint32_t *)0xE000ED88)

extern uint32_t top_of_stack;
void _start(void);
int main(void);
int __real_main(void);
int __wrap_main(void);
void __real_net_step(net_state *net, const int8_t *frame, float *outputs);
void __wrap_net_step(net_state *net, const int8_t *frame, float *outputs);

/* The C library calls these around main. */
void _init(void);
void _fini(void);
void _init(void) {}
void _fini(void) {}

static uint32_t ticks, most, frames;

static void reset(void)
{
    COPROCESSORS |= 0xFu << 20; /* the FPU */
    __asm__ volatile("dsb\n isb");
    _start();
}

static void fault(void)
{
    for (;;) {}
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &top_of_stack, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};

static uint32_t ticks_since(uint32_t start) { return (start - CURRENT) & 0xFFFFFFu; }

#ifdef COUNT_SOUND
int main(void)
{
    static struct net_front_end front_end;
    int8_t frame[NET_BANDS];
    uint32_t noise = 1;
    net_front_end_init(&front_end);

    const uint32_t start = CURRENT;
    for (int32_t i = 0; i < NET_SAMPLE_RATE; i++) {
        noise = 1664525u * noise + 1013904223u;
        frames += (uint32_t)net_front_end_push(&front_end, (int16_t)(noise >> 18), frame);
    }
    ticks = ticks_since(start);
    printf("%d bands; a state of %u bytes\n", NET_BANDS, (unsigned)sizeof front_end);
    return 0;
}
#endif

void __wrap_net_step(net_state *net, const int8_t *frame, float *outputs)
{
    const uint32_t start = CURRENT;
    __real_net_step(net, frame, outputs);
    const uint32_t taken = ticks_since(start);
    if (net->probe) return;
    ticks += taken;
    frames++;
    if (taken > most) most = taken;
}

int __wrap_main(void)
{
    RELOAD = 0xFFFFFF;
    CURRENT = 0;
    CONTROL = 5;

    /* A loop of 5,000,000 instructions. */
    uint32_t n = 1000000;
    const uint32_t start = CURRENT;
    __asm__ volatile("1: nop\n nop\n nop\n subs %0, %0, #1\n bne 1b\n" : "+r"(n));
    const uint32_t of_loop = ticks_since(start);

    const int wrong = __real_main();
    printf("%lu ticks of the loop, %lu ticks, %lu frames, %lu most\n", (unsigned long)of_loop,
           (unsigned long)ticks, (unsigned long)frames, (unsigned long)most);
    return wrong;
}
