/* A Vulkan driver that passes every call on to another one, WGRAD_DRIVER, and says in the place of the WGRAD_NTH call of the function
   WGRAD_CALL that the device is lost (VK_ERROR_DEVICE_LOST), or what WGRAD_RESULT says. After a loss the queue and its waits stay lost
   until another device is made. It has WGRAD_ROOM bytes of memory, where that is set. At the end it says what was made and not given back. It needs no Vulkan headers: pointers are passed
   on as they are. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef void (*Function)(void);
typedef Function (*Get)(void *, const char *);

enum { LOST = -4 };

static void *driver(void) {
    static void *handle;
    if (!handle) handle = dlopen(getenv("WGRAD_DRIVER"), RTLD_NOW | RTLD_LOCAL);
    if (!handle) { fprintf(stderr, "WGRAD_DRIVER: %s\n", dlerror()); exit(3); }
    return handle;
}

static int is_lost;
static void *last_queue;
static Result (*real_vkQueueWaitIdle)(void *, void *, void *, void *, void *, void *, void *);

/* What the call is to return instead of being passed on, or 0. */
static Result strikes(const char *name, int can_be_lost) {
    static int count;
    const char *wanted = getenv("WGRAD_CALL");
    if (wanted && !strcmp(wanted, name) && ++count == atoi(getenv("WGRAD_NTH"))) {
        const char *result = getenv("WGRAD_RESULT");
        Result code = result ? atoi(result) : LOST;
        is_lost = code == LOST;
        /* What is lost runs no more: whoever frees its memory now must not pull it from under a command. */
        if (is_lost && last_queue) real_vkQueueWaitIdle(last_queue, 0, 0, 0, 0, 0, 0);
        fprintf(stderr, "struck: call %d of %s\n", count, name);
        return code;
    }
    return is_lost && can_be_lost ? LOST : 0;
}

/* A function of up to seven arguments, each at most as wide as a pointer, which may fail. */
#define PASS(name, can_be_lost)                                                                                        \
    static Result (*real_##name)(void *, void *, void *, void *, void *, void *, void *);                              \
    static Result my_##name(void *a, void *b, void *c, void *d, void *e, void *f, void *g) {                           \
        if (!strcmp(#name, "vkQueueSubmit")) last_queue = a;                                                            \
        Result code = strikes(#name, can_be_lost);                                                                     \
        return code ? code : real_##name(a, b, c, d, e, f, g);                                                         \
    }

PASS(vkQueueSubmit, 1)
PASS(vkGetSemaphoreCounterValue, 1)
PASS(vkGetFenceStatus, 1)
PASS(vkWaitSemaphores, 1)
PASS(vkWaitForFences, 1)
PASS(vkQueueWaitIdle, 1)
PASS(vkCreateComputePipelines, 0)
PASS(vkBeginCommandBuffer, 0)
PASS(vkEndCommandBuffer, 0)

/* How many things of each kind there are: whoever is done has to have given all of them back. */
enum { DEVICES, MEMORIES, BUFFERS, POOLS, KINDS };
static const char *const kinds[KINDS] = {"devices", "memories", "buffers", "command pools"};
static int there[KINDS];

static void say(void) {
    fprintf(stderr, "left:");
    for (int kind = 0; kind < KINDS; kind++) fprintf(stderr, " %d %s", __atomic_load_n(&there[kind], __ATOMIC_SEQ_CST), kinds[kind]);
    fprintf(stderr, "\n");
}

/* A function that makes a thing, and the one that gives it back. */
#define MAKE(make, give_back, kind)                                                                                    \
    static Result (*real_##make)(void *, void *, void *, void *);                                                      \
    static Result my_##make(void *a, void *b, void *c, void *d) {                                                      \
        Result code = strikes(#make, 0);                                                                               \
        if (!code) code = real_##make(a, b, c, d);                                                                     \
        if (!code) __atomic_add_fetch(&there[kind], 1, __ATOMIC_SEQ_CST);                                              \
        return code;                                                                                                   \
    }                                                                                                                  \
    static void (*real_##give_back)(void *, void *, void *);                                                           \
    static void my_##give_back(void *a, void *b, void *c) {                                                            \
        /* Of a device the thing itself comes first, of others the device. */                                          \
        if (kind == DEVICES ? a : b) __atomic_sub_fetch(&there[kind], 1, __ATOMIC_SEQ_CST);                            \
        real_##give_back(a, b, c);                                                                                     \
    }

MAKE(vkCreateDevice, vkDestroyDevice, DEVICES)
MAKE(vkAllocateMemory, vkFreeMemory, MEMORIES)
MAKE(vkCreateBuffer, vkDestroyBuffer, BUFFERS)
MAKE(vkCreateCommandPool, vkDestroyCommandPool, POOLS)

/* What is allocated, and its sum. */
static struct { void *memory; unsigned long long size; } blocks[256];
static unsigned long long taken;

/* The size is the third member of VkMemoryAllocateInfo, after a word and a pointer. */
static Result allocate_within_room(void *a, void *b, void *c, void *d) {
    const char *room = getenv("WGRAD_ROOM");
    unsigned long long size = *(unsigned long long *)((char *)b + 2 * sizeof(void *));
    if (room && taken + size > strtoull(room, 0, 10)) {
        fprintf(stderr, "no room: %llu beside %llu\n", size, taken);
        return -2;
    }
    Result code = my_vkAllocateMemory(a, b, c, d);
    for (int i = 0; !code && i < 256; i++)
        if (!blocks[i].memory) { blocks[i].memory = *(void **)d; blocks[i].size = size; taken += size; break; }
    return code;
}

static void free_within_room(void *a, void *memory, void *c) {
    for (int i = 0; memory && i < 256; i++)
        if (blocks[i].memory == memory) { taken -= blocks[i].size; blocks[i].memory = 0; break; }
    my_vkFreeMemory(a, memory, c);
}

static Result begin_device(void *a, void *b, void *c, void *d) {
    static int is_told;
    if (!is_told++) atexit(say);
    is_lost = 0;
    last_queue = 0;
    return my_vkCreateDevice(a, b, c, d);
}

static Function get_of_device(void *device, const char *name);
static Get real_vkGetDeviceProcAddr;

static Function wrapped(const char *given, Function real) {
    char name[64];
    size_t length = strlen(given);
    if (!real || length >= sizeof name) return real;
    /* An extension that became part of Vulkan has its functions by both names. */
    if (length > 3 && !strcmp(given + length - 3, "KHR")) length -= 3;
    memcpy(name, given, length);
    name[length] = 0;
#define WRAP(function)                                                                                                 \
    if (!strcmp(name, #function)) { real_##function = (void *)real; return (Function)my_##function; }
    WRAP(vkQueueSubmit) WRAP(vkGetSemaphoreCounterValue) WRAP(vkGetFenceStatus) WRAP(vkWaitSemaphores) WRAP(vkWaitForFences)
    WRAP(vkCreateBuffer) WRAP(vkCreateComputePipelines) WRAP(vkBeginCommandBuffer) WRAP(vkEndCommandBuffer)
    WRAP(vkQueueWaitIdle) WRAP(vkDestroyDevice) WRAP(vkDestroyBuffer)
    WRAP(vkCreateCommandPool) WRAP(vkDestroyCommandPool)
    if (!strcmp(name, "vkAllocateMemory")) { real_vkAllocateMemory = (void *)real; return (Function)allocate_within_room; }
    if (!strcmp(name, "vkFreeMemory")) { real_vkFreeMemory = (void *)real; return (Function)free_within_room; }
    if (!strcmp(name, "vkCreateDevice")) { real_vkCreateDevice = (void *)real; return (Function)begin_device; }
    if (!strcmp(name, "vkGetDeviceProcAddr")) { real_vkGetDeviceProcAddr = (Get)real; return (Function)get_of_device; }
    return real;
}

static Function get_of_device(void *device, const char *name) { return wrapped(name, real_vkGetDeviceProcAddr(device, name)); }

Function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    Get get = (Get)dlsym(driver(), "vk_icdGetInstanceProcAddr");
    return wrapped(name, get(instance, name));
}

Function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
    Get get = (Get)dlsym(driver(), "vk_icdGetPhysicalDeviceProcAddr");
    return get ? get(instance, name) : 0;
}

Result vk_icdNegotiateLoaderICDInterfaceVersion(unsigned *version) {
    Result (*negotiate)(unsigned *) = (Result (*)(unsigned *))dlsym(driver(), "vk_icdNegotiateLoaderICDInterfaceVersion");
    return negotiate(version);
}
