/* Looks at an ELF file before the dynamic linker does, which trusts it. */
#include "shared_object.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Does the file have all that its segments map? What is no ELF file of this machine is left to dlopen. */
static bool is_whole(int fd)
{
    struct stat file;
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;

    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) ||
        pread(fd, &header, sizeof header, 0) != sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_phentsize != sizeof segment)
        return true;
    for (size_t i = 0; i < header.e_phnum; i++) {
        if (pread(fd, &segment, sizeof segment, (off_t)(header.e_phoff + i * sizeof segment)) != sizeof segment)
            return false;
        if (segment.p_type == PT_LOAD && (segment.p_offset > (size_t)file.st_size ||
                                          segment.p_filesz > (size_t)file.st_size - segment.p_offset))
            return false;
    }
    return true;
}

lb_status shared_object_open(const char *path, void **handle, lb_error *error)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe that nobody writes to does not wait */
    struct stat file;
    bool is_odd = fd >= 0 && fstat(fd, &file) == 0 && !S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode);
    bool whole = fd < 0 || is_whole(fd);

    *handle = NULL;
    if (fd >= 0)
        close(fd);
    if (is_odd)
        return lb_error_set(error, LB_CONFIG, "it is no file");
    if (!whole)
        return lb_error_set(error, LB_CONFIG, "the file has been cut short");
    *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return *handle ? LB_OK : lb_error_set(error, LB_CONFIG, "%s", dlerror());
}

const void *shared_object_variable(void *handle, const char *name, size_t *size)
{
    void *found = dlsym(handle, name), *about = NULL;
    Dl_info info;

    if (!found || !dladdr1(found, &info, &about, RTLD_DL_SYMENT) || !about)
        return NULL;
    const ElfW(Sym) *symbol = about;
    *size = symbol->st_size;
    return symbol->st_info % 16 == STT_OBJECT ? found : NULL;
}
