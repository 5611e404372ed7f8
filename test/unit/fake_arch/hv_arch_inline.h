/* The fake architecture layer has nothing inline. */
#pragma once
